#include "distributed/testing/message_faults.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "core/proto/graph.pb.h"
#include "core/testing/manual_clock.h"
#include "distributed/proto/worker.pb.h"
#include "distributed/rpc/call.h"
#include "distributed/testing/call_recorder.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Answers at once, and counts.
class CountingTransport final : public Transport {
 public:
  explicit CountingTransport(std::vector<std::string>* calls) : calls_(calls) {}
  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string&, Handler) override { return Unimplemented("no"); }
  absl::StatusOr<std::shared_ptr<Channel>> Connect(const std::string&) override {
    class Counting final : public Channel {
     public:
      explicit Counting(std::vector<std::string>* calls) : calls_(calls) {}
      void Call(const std::string& method, Message request, absl::Duration, Reply done) override {
        calls_->push_back(absl::StrCat(method.substr(method.rfind('/') + 1), request.body));
        done(Message("answer"));
      }
      std::string Describe() const override { return "a wire"; }

     private:
      std::vector<std::string>* const calls_;
    };
    return std::shared_ptr<Channel>(new Counting(calls_));
  }

 private:
  std::vector<std::string>* const calls_;
};

class MessageFaultsTest : public ::testing::Test {
 protected:
  // How `count` calls end, in order; later messages are waited for.
  std::vector<absl::Status> CallWith(const std::string& faults, const std::string& method, int count) {
    auto parsed = ParseMessageFaults(faults);
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    auto transport = MakeFaultyTransport(std::make_shared<CountingTransport>(&calls_), *parsed, &clock_,
                                         [this](Event e) { noted_.push_back(e.text); });
    std::shared_ptr<Channel> channel = *transport->Connect("x:1");
    std::vector<absl::Status> ends(count, absl::UnknownError("no end"));
    for (int i = 0; i < count; ++i) {
      channel->Call(absl::StrCat("/s/", method), Message(absl::StrCat(i)), absl::Seconds(1),
                    [&ends, i](absl::StatusOr<Message> reply) { ends[i] = reply.status(); });
    }
    clock_.Advance(absl::Seconds(1));
    return ends;
  }

  ManualClock clock_;
  std::vector<std::string> calls_;
  std::vector<std::string> noted_;
};

TEST_F(MessageFaultsTest, ALostMessageEndsTheCallAsABrokenConnectionDoes) {
  for (const absl::Status& end : CallWith("seed=1,drop=1", "RunGraph", 200)) {
    EXPECT_EQ(end.code(), absl::StatusCode::kUnavailable);
    EXPECT_TRUE(end.GetPayload(kTransportPayload).has_value());
  }
  EXPECT_GT(calls_.size(), 50u);  // about half are handled
  EXPECT_LT(calls_.size(), 150u);
  EXPECT_EQ(noted_.size(), 200u);
}

TEST_F(MessageFaultsTest, ADoubledMessageIsHandledTwiceAndAnsweredOnce) {
  for (const absl::Status& end : CallWith("seed=1,duplicate=1", "RecvTensor", 3)) EXPECT_TRUE(end.ok());
  EXPECT_EQ(calls_.size(), 6u);
}

TEST_F(MessageFaultsTest, MessagesOvertakeEachOther) {
  for (const absl::Status& end : CallWith("seed=1,reorder=1", "GetStatus", 20)) EXPECT_TRUE(end.ok());
  ASSERT_EQ(calls_.size(), 20u);
  std::vector<std::string> sorted = calls_;
  std::sort(sorted.begin(), sorted.end());
  std::vector<std::string> sent;
  for (int i = 0; i < 20; ++i) sent.push_back(absl::StrCat("GetStatus", i));
  EXPECT_NE(calls_, sent);
  std::sort(sent.begin(), sent.end());
  EXPECT_EQ(sorted, sent);
}

TEST_F(MessageFaultsTest, OtherCallsAreLeftAlone) {
  for (const absl::Status& end : CallWith("drop=1", "CreateWorkerSession", 10)) EXPECT_TRUE(end.ok());
  EXPECT_TRUE(noted_.empty());
}

TEST_F(MessageFaultsTest, MistakesAreNamed) {
  for (const char* text : {"drop=2", "loss=0.1", "seed=x", "drop"}) {
    EXPECT_THAT(std::string(ParseMessageFaults(text).status().message()), HasSubstr(text)) << text;
  }
}

TEST(HistoryTest, AnEventSurvivesItsText) {
  Event event;
  event.at = absl::Seconds(52) + absl::Nanoseconds(7);
  event.task = "/job:ps/replica:0/task:0";
  event.life = "4711";
  event.kind = EventKind::kArrive;
  event.call = 9;
  event.method = "RunGraph";
  event.session = "s1";
  event.graph = "graph 2";
  event.lineage = "/a folder/100%";
  event.epoch = 3;
  event.step = -5;
  event.code = 4;
  event.limit = absl::Milliseconds(1500);
  event.updates = {"a", "b/c"};
  event.text = "two\nlines";
  const std::string line = FormatEvent(event);
  EXPECT_FALSE(absl::StrContains(line, '\n'));
  auto parsed = ParseEvent(line);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(FormatEvent(*parsed), line);
  EXPECT_EQ(parsed->at, event.at);
  EXPECT_EQ(parsed->lineage, event.lineage);
  EXPECT_EQ(parsed->text, event.text);
  EXPECT_THAT(parsed->updates, ElementsAre("a", "b/c"));
  for (const char* bad :
       {"", "1.000000000 t l", "1.5 t l start", "1.000000000 t l jump", "1.000000000 t l start a=b"}) {
    EXPECT_FALSE(ParseEvent(bad).ok()) << bad;
  }
}

TEST(CallRecorderTest, CallsAreNotedWhenTheyComeAndWhenTheyAreAnswered) {
  std::vector<std::string> lines;
  Reply waiting;
  Handler handler = RecordCalls([&](const IncomingCall&, Message, Reply reply) { waiting = std::move(reply); },
                                [&](Event e) { lines.push_back(FormatEvent(e)); });
  proto::RunGraphRequest request;
  request.set_session_handle("s1");
  request.set_step_id(99);
  IncomingCall call;
  call.method = "/sluice.proto.WorkerService/RunGraph";
  int answers = 0;
  handler(call, Pack(request), [&](auto) { ++answers; });
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[1], HasSubstr(" arrive call=1 method=RunGraph session=s1 step=99"));
  waiting(absl::AbortedError("no"));
  EXPECT_EQ(answers, 1);
  EXPECT_THAT(lines[2], HasSubstr(" answer call=1 method=RunGraph session=s1 step=99 code=10"));
  call.method = "/sluice.proto.WorkerService/GetStatus";
  handler(call, Message(), [](auto) {});
  EXPECT_EQ(lines.size(), 3u);
}

TEST(CallRecorderTest, UpdatesAreToldFromValuesThatAreSet) {
  proto::GraphDef graph;
  const auto add = [&graph](const std::string& name, const std::string& op, std::vector<std::string> inputs) {
    auto* n = graph.add_node();
    n->set_name(name);
    n->set_op(op);
    for (const std::string& i : inputs) n->add_input(i);
  };
  add("v", "VariableV2", {});
  add("h", "VarHandleOp", {});
  add("x", "_Arg", {});
  add("restore_v", "Assign", {"v", "x"});
  add("restore_h", "AssignVariableOp", {"h", "x"});
  EXPECT_THAT(UpdatedVariables(graph), IsEmpty());
  add("train_v", "ApplyMomentum", {"v:0", "x"});
  EXPECT_THAT(UpdatedVariables(graph), ElementsAre("v"));
  add("read", "ReadVariableOp", {"h"});  // now h becomes what follows from it
  EXPECT_THAT(UpdatedVariables(graph), ElementsAre("h", "v"));
}

}  // namespace
}  // namespace sluice
