#include "runtime/collective/local_collectives.h"

#include <thread>

#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/collective/merge.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Device(int i) { return absl::StrCat("/job:localhost/replica:0/task:0/device:CPU:", i); }

CollectiveRequest Ask(int device, int members, const std::vector<float>& in, std::vector<float>* out) {
  CollectiveRequest r;
  r.group_size = members;
  r.group_key = 7;
  r.instance_key = 1;
  r.device = Device(device);
  r.node = "CollectiveReduce 'x'";
  r.dtype = DType::kFloat;
  r.shape = Shape({static_cast<int64_t>(in.size())});
  r.input = in.data();
  r.output = out->data();
  return r;
}

class LocalCollectivesTest : public ::testing::Test {
 protected:
  RefPtr<LocalCollectives> Make(absl::Duration timeout = absl::Minutes(1)) {
    return MakeRef<LocalCollectives>(3, &pool_, SystemClock(), timeout);
  }
  ThreadPool pool_{2};
};

TEST_F(LocalCollectivesTest, MembersGetTheSumInTheOrderOfTheirDevicesInPlaceToo) {
  RefPtr<LocalCollectives> all = Make();
  // Only (1e8 + -1e8) + 1 is 1; devices come in another order, and 10 follows 2.
  std::vector<float> a{1e8f, 1}, b{-1e8f, 2}, c{1, 3}, out(2);
  std::vector<absl::Status> ended;
  auto done = [&](absl::Status s) { ended.push_back(s); };
  all->Start(Ask(10, 3, c, &c), done);
  all->Start(Ask(2, 3, b, &b), done);
  EXPECT_TRUE(ended.empty());
  all->Start(Ask(0, 3, a, &out), done);
  ASSERT_EQ(ended.size(), 3u);
  for (const absl::Status& s : ended) EXPECT_TRUE(s.ok()) << s;
  EXPECT_THAT(out, ElementsAre(1, 6));
  EXPECT_EQ(b, out);
  EXPECT_EQ(c, out);
}

TEST_F(LocalCollectivesTest, DisagreementEndsBothAndNamesBoth) {
  RefPtr<LocalCollectives> all = Make();
  std::vector<float> a{1, 2}, b{1, 2, 3};
  absl::Status first, second;
  all->Start(Ask(0, 2, a, &a), [&](absl::Status s) { first = s; });
  all->Start(Ask(1, 2, b, &b), [&](absl::Status s) { second = s; });
  EXPECT_EQ(first, second);
  EXPECT_THAT(first.ToString(), HasSubstr("CPU:0 runs CollectiveReduce of float [2], Add, Id, 2 members and "));
  EXPECT_THAT(first.ToString(), HasSubstr("CPU:1 runs CollectiveReduce of float [3]"));
}

TEST_F(LocalCollectivesTest, MissingMemberEndsTheWait) {
  RefPtr<LocalCollectives> all = Make(absl::Milliseconds(20));
  std::vector<float> a{1};
  absl::Notification ended;
  all->Start(Ask(0, 2, a, &a), [&](absl::Status s) {
    EXPECT_EQ(s.code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_THAT(s.ToString(), HasSubstr("for 1 of 2 members; there are /job:localhost/replica:0/task:0/device:CPU:0"));
    ended.Notify();
  });
  ASSERT_TRUE(ended.WaitForNotificationWithTimeout(absl::Seconds(60)));
}

TEST_F(LocalCollectivesTest, GroupLargerThanTheSessionIsRefused) {
  std::vector<float> a{1};
  absl::Status ended;
  Make()->Start(Ask(0, 4, a, &a), [&](absl::Status s) { ended = s; });
  EXPECT_THAT(ended.ToString(), HasSubstr("the group has 4 members and this session 3 devices"));
}

TEST_F(LocalCollectivesTest, CancelledStepEndsTheWait) {
  RefPtr<LocalCollectives> all = Make();
  CancellationToken token;
  std::vector<float> a{1};
  CollectiveRequest request = Ask(0, 2, a, &a);
  request.cancellation = &token;
  absl::Notification ended;
  all->Start(request, [&](absl::Status s) {
    EXPECT_EQ(s, absl::CancelledError("enough"));
    ended.Notify();
  });
  token.Cancel(absl::CancelledError("enough"));
  ASSERT_TRUE(ended.WaitForNotificationWithTimeout(absl::Seconds(60)));
}

TEST(MergeTest, EveryTypeAndOp) {
  const auto check = [](DType type, MergeOp op, auto x, auto y, auto want) {
    EXPECT_EQ(sizeof(x), ElementSize(type));
    decltype(x) to{};
    Merge(type, op, &x, &y, &to, 1);
    EXPECT_TRUE(to == static_cast<decltype(x)>(want)) << DTypeName(type);
  };
  check(DType::kFloat, MergeOp::kAdd, 2.5f, 1.5f, 4.f);
  check(DType::kDouble, MergeOp::kMul, 2.5, 2.0, 5.0);
  check(DType::kInt8, MergeOp::kMax, int8_t{-3}, int8_t{2}, 2);
  check(DType::kUint8, MergeOp::kMin, uint8_t{200}, uint8_t{100}, 100);
  check(DType::kInt16, MergeOp::kAdd, int16_t{30000}, int16_t{30000}, -5536);
  check(DType::kUint64, MergeOp::kMax, ~uint64_t{0}, uint64_t{1}, ~uint64_t{0});
  check(DType::kInt64, MergeOp::kMul, int64_t{1} << 40, int64_t{-4}, -(int64_t{1} << 42));
  check(DType::kInt32, MergeOp::kMin, 5, -5, -5);
}

TEST(MergeTest, PartsCoverEverythingInOrder) {
  for (int64_t count : {0, 1, 15, 16, 17, 1000}) {
    for (int64_t parts : {1, 2, 3, 7}) {
      EXPECT_EQ(PartBegin(count, parts, 0), 0);
      EXPECT_EQ(PartBegin(count, parts, parts), count);
      for (int64_t i = 0; i < parts; ++i) EXPECT_LE(PartBegin(count, parts, i), PartBegin(count, parts, i + 1));
    }
  }
}

}  // namespace
}  // namespace sluice
