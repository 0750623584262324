#include "distributed/rpc/watched_channel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "core/base/status.h"
#include "core/testing/manual_clock.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;

// Keeps calls; those that have a time end with DEADLINE_EXCEEDED when it is over.
class ScriptedChannel final : public Channel {
 public:
  explicit ScriptedChannel(ManualClock* clock) : clock_(clock) {}
  void Call(const std::string& method, Message, absl::Duration timeout, Reply done) override {
    auto reply = std::make_shared<Reply>(std::move(done));
    calls.push_back(reply);
    clock_->RunAfter(timeout, [reply] {
      if (*reply) std::exchange(*reply, nullptr)(absl::DeadlineExceededError("late"));
    });
  }
  std::string Describe() const override { return "a wire"; }
  void Answer(size_t i) { std::exchange(*calls[i], nullptr)(Message("ok")); }

  std::vector<std::shared_ptr<Reply>> calls;

 private:
  ManualClock* const clock_;
};

class WatchedChannelTest : public ::testing::Test {
 protected:
  WatchedChannelTest() {
    WatchOptions options;
    options.name = "/job:ps/replica:0/task:0";
    channel_ = MakeWatchedChannel(work_, questions_, &clock_, options);
  }
  ~WatchedChannelTest() override {
    // A call that nobody answered keeps its channel.
    for (const auto& channel : {work_, questions_}) channel->calls.clear();
    clock_.Forget();
  }
  void Call(absl::Duration timeout = absl::Hours(1)) {
    ++open_;
    channel_->Call("/x/Y", Message(), timeout, [this](absl::StatusOr<Message> reply) {
      --open_;
      last_ = reply.status();
    });
  }

  ManualClock clock_;
  std::shared_ptr<ScriptedChannel> work_ = std::make_shared<ScriptedChannel>(&clock_);
  std::shared_ptr<ScriptedChannel> questions_ = std::make_shared<ScriptedChannel>(&clock_);
  std::shared_ptr<Channel> channel_;
  int open_ = 0;
  absl::Status last_ = absl::UnknownError("no reply");
};

TEST_F(WatchedChannelTest, ALongCallToALivingPeerIsLeftAlone) {
  Call();
  for (int i = 0; i < 100; ++i) {
    clock_.Advance(absl::Seconds(3));
    ASSERT_EQ(questions_->calls.size(), static_cast<size_t>(i + 1));
    questions_->Answer(i);
  }
  EXPECT_EQ(open_, 1);
  work_->Answer(0);
  EXPECT_EQ(open_, 0);
  EXPECT_TRUE(last_.ok());
}

TEST_F(WatchedChannelTest, ASilentPeerEndsEveryCallWithinTenSeconds) {
  Call();
  Call();
  clock_.Advance(absl::Seconds(9.9));
  EXPECT_EQ(open_, 2);
  clock_.Advance(absl::Seconds(0.2));
  EXPECT_EQ(open_, 0);
  EXPECT_EQ(last_.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(last_.message()), HasSubstr("/job:ps/replica:0/task:0 does not answer over a wire"));
  work_->Answer(0);  // later: nobody waits any more
}

TEST_F(WatchedChannelTest, ACallThatCameAfterTheQuestionWaitsForTheNext) {
  Call();
  clock_.Advance(absl::Seconds(4));
  Call();
  clock_.Advance(absl::Seconds(6.5));
  EXPECT_EQ(open_, 1);
  questions_->calls.clear();
  clock_.Advance(absl::Seconds(10));
  EXPECT_EQ(open_, 0);
}

TEST_F(WatchedChannelTest, NobodyIsAskedWhenNothingIsOnItsWay) {
  Call(absl::Seconds(2));  // ends by itself before anybody would ask
  EXPECT_EQ(clock_.timers(), 1u);
  Call();
  work_->Answer(1);
  clock_.Advance(absl::Minutes(10));
  EXPECT_TRUE(questions_->calls.empty());
  EXPECT_EQ(open_, 0);
}

}  // namespace
}  // namespace sluice
