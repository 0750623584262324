// Queues, accumulators and barriers by themselves: what waits, in which order it ends, and how.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>

#include "absl/strings/str_join.h"
#include "absl/synchronization/notification.h"
#include "kernels/queue/accumulator.h"
#include "kernels/queue/barrier.h"
#include "kernels/queue/clock.h"
#include "kernels/queue/queue.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;

std::string Describe(const absl::Status& s) {
  return s.ok() ? "OK" : absl::StrCat(absl::StatusCodeToString(s.code()), ": ", s.message());
}

// What one operation came to; empty while it waits.
struct Outcome {
  std::optional<absl::Status> status;
  std::string value;
  std::string Text() const { return !status ? "waits" : status->ok() ? value : Describe(*status); }
  WaitingResource::Done Done() {
    return [this](absl::Status s) {
      EXPECT_FALSE(status.has_value()) << "completed twice";
      status = std::move(s);
    };
  }
};

class QueueTest : public ::testing::Test {
 protected:
  void Make(Queue::Options o = {}) {
    o.name = "q";
    if (o.types.empty()) o.types = {DType::kFloat};
    if (o.shapes.empty()) o.shapes.assign(o.types.size(), PartialShape(Shape()));
    absl::StatusOr<RefPtr<Queue>> made = Queue::Make(o);
    ASSERT_TRUE(made.ok()) << made.status();
    q_ = *made;
  }
  Outcome* Add() {
    outcomes_.push_back(std::make_unique<Outcome>());
    return outcomes_.back().get();
  }
  Outcome* Put(float x, CancellationToken* token = nullptr) {
    Outcome* o = Add();
    q_->Enqueue({Tensor::Scalar(x)}, token, -1, o->Done());
    return o;
  }
  Outcome* PutMany(std::vector<float> x, CancellationToken* token = nullptr) {
    Outcome* o = Add();
    q_->EnqueueMany({Tensor::Vector<float>(x)}, token, -1, o->Done());
    return o;
  }
  auto Into(Outcome* o) {
    return [o](Queue::Element e) {
      for (const Tensor& t : e) o->value += (o->value.empty() ? "" : "; ") + t.ToString(20);
      return absl::OkStatus();
    };
  }
  Outcome* Take(CancellationToken* token = nullptr, int64_t timeout_ms = -1) {
    Outcome* o = Add();
    q_->Dequeue(token, timeout_ms, Into(o), o->Done());
    return o;
  }
  Outcome* TakeMany(int64_t n, bool up_to = false, CancellationToken* token = nullptr) {
    Outcome* o = Add();
    q_->DequeueMany(n, up_to, token, -1, Into(o), o->Done());
    return o;
  }
  RefPtr<Queue> q_;
  std::vector<std::unique_ptr<Outcome>> outcomes_;
};

TEST_F(QueueTest, YieldsElementsInTheOrderOfTheirArrival) {
  Make();
  Put(1);
  PutMany({2, 3, 4});
  EXPECT_EQ(Take()->Text(), "float [] 1");
  EXPECT_EQ(TakeMany(2)->Text(), "float [2] 2 3");
  EXPECT_EQ(q_->size(), 1);
}

TEST_F(QueueTest, TakersWaitInLine) {
  Make();
  Outcome *a = Take(), *b = TakeMany(2), *c = Take();
  EXPECT_EQ(a->Text(), "waits");
  PutMany({1, 2});
  EXPECT_EQ(a->Text(), "float [] 1");
  EXPECT_EQ(b->Text(), "waits");
  PutMany({3, 4});
  EXPECT_EQ(b->Text(), "float [2] 2 3");
  EXPECT_EQ(c->Text(), "float [] 4");
}

TEST_F(QueueTest, AFullQueueHoldsUpItsFeeders) {
  Queue::Options o;
  o.capacity = 2;
  Make(o);
  Outcome *a = PutMany({1, 2, 3}), *b = Put(4);
  EXPECT_EQ(a->Text(), "waits");
  EXPECT_EQ(q_->size(), 2);
  EXPECT_EQ(Take()->Text(), "float [] 1");
  EXPECT_EQ(a->Text(), "");
  EXPECT_EQ(b->Text(), "waits");
  EXPECT_EQ(TakeMany(3)->Text(), "float [3] 2 3 4") << "a batch larger than the capacity is filled as elements come";
  EXPECT_EQ(b->Text(), "");
}

TEST_F(QueueTest, CloseLetsWaitingFeedersFinishAndRefusesNewOnes) {
  Queue::Options o;
  o.capacity = 1;
  Make(o);
  Put(1);
  Outcome* waiting = Put(2);
  EXPECT_EQ(q_->Close(false), absl::OkStatus());
  EXPECT_TRUE(q_->IsClosed());
  EXPECT_EQ(waiting->Text(), "waits");
  EXPECT_THAT(Put(3)->Text(), HasSubstr("CANCELLED: FIFOQueue 'q' is closed"));
  EXPECT_EQ(Take()->Text(), "float [] 1");
  EXPECT_EQ(waiting->Text(), "");
  EXPECT_EQ(TakeMany(2)->Text(),
            "OUT_OF_RANGE: FIFOQueue 'q' is closed and has insufficient elements (requested 2, current size 1)");
  EXPECT_EQ(TakeMany(2, true)->Text(), "float [1] 2");
  EXPECT_THAT(TakeMany(2, true)->Text(), HasSubstr("OUT_OF_RANGE"));
  EXPECT_THAT(Describe(q_->Close(false)), HasSubstr("already closed"));
  EXPECT_EQ(q_->Close(true), absl::OkStatus());
}

TEST_F(QueueTest, CloseCanEndWaitingFeedersAndEndsWaitingTakers) {
  Queue::Options o;
  o.capacity = 1;
  Make(o);
  Put(1);
  Outcome* waiting = PutMany({2, 3});
  EXPECT_EQ(q_->Close(true), absl::OkStatus());
  EXPECT_THAT(waiting->Text(), HasSubstr("CANCELLED"));
  Make();
  Outcome *few = TakeMany(3, true), *many = TakeMany(3);
  PutMany({1, 2});
  EXPECT_EQ(q_->Close(false), absl::OkStatus());
  EXPECT_EQ(few->Text(), "float [2] 1 2");
  EXPECT_THAT(many->Text(), HasSubstr("OUT_OF_RANGE"));
}

TEST_F(QueueTest, ACancelledBatchGivesBackWhatItTook) {
  Make();
  CancellationToken token;
  Outcome *batch = TakeMany(3, false, &token), *other = Take();
  PutMany({1, 2});
  EXPECT_EQ(other->Text(), "waits");
  token.Cancel(absl::AbortedError("the step failed"));
  EXPECT_EQ(batch->Text(), "ABORTED: the step failed");
  EXPECT_EQ(other->Text(), "float [] 1");
  EXPECT_EQ(Take()->Text(), "float [] 2");
  EXPECT_EQ(Take(&token)->Text(), "ABORTED: the step failed") << "a step that is over begins no wait";
}

TEST_F(QueueTest, ACancellationThatFreesAnotherWaitOfTheSameStepDoesNotLockUp) {
  Queue::Options o;
  o.capacity = 1;
  Make(o);
  CancellationToken token;
  Put(1, &token);
  Outcome *many = TakeMany(3, false, &token), *one = Take(&token), *full = PutMany({5, 6, 7, 8}, &token);
  token.Cancel(absl::CancelledError("stop"));
  EXPECT_THAT(many->Text(), ::testing::AnyOf("CANCELLED: stop", "float [3] 1 5 6"));
  EXPECT_NE(one->Text(), "waits");
  EXPECT_NE(full->Text(), "waits");
}

TEST_F(QueueTest, AWaitEndsWhenItsTimeIsOver) {
  Make();
  absl::Notification ended;
  absl::Status status;
  q_->Dequeue(nullptr, 5, Into(Add()), [&](absl::Status s) {
    status = std::move(s);
    ended.Notify();
  });
  ASSERT_TRUE(ended.WaitForNotificationWithTimeout(absl::Seconds(30)));
  EXPECT_EQ(Describe(status), "DEADLINE_EXCEEDED: waited 5 ms for FIFOQueue 'q'");
  Put(1);
  EXPECT_EQ(Take(nullptr, 60000)->Text(), "float [] 1") << "the element was not lost";
}

TEST_F(QueueTest, WrongElementsAreRefused) {
  Queue::Options o;
  o.types = {DType::kFloat, DType::kInt32};
  o.shapes = {PartialShape(Shape({2})), PartialShape(Shape())};
  Make(o);
  auto put = [&](Queue::Element e, bool many) {
    Outcome* out = Add();
    many ? q_->EnqueueMany(e, nullptr, -1, out->Done()) : q_->Enqueue(e, nullptr, -1, out->Done());
    return out->Text();
  };
  Tensor pair = Tensor::Vector<float>({1, 2}), one = Tensor::Scalar<int32_t>(3);
  EXPECT_EQ(put({pair, one}, false), "");
  EXPECT_THAT(put({pair}, false), HasSubstr("has 2 components, found 1"));
  EXPECT_THAT(put({one, one}, false), HasSubstr("component 0: expected float, got int32"));
  EXPECT_THAT(put({Tensor::Vector<float>({1, 2, 3}), one}, false), HasSubstr("expected [2], got [3]"));
  EXPECT_THAT(put({pair.WithShape(Shape({1, 2})), one}, true), HasSubstr("same size in dimension 0"));
  EXPECT_THAT(put({pair, one}, true), HasSubstr("expected rows of [2], got []"));
  EXPECT_THAT(TakeMany(-1)->Text(), HasSubstr("n must be at least 0"));
  EXPECT_EQ(TakeMany(0)->Text(), "float [0,2]; int32 [0]");
}

TEST_F(QueueTest, MistakesInADefinitionAreRefused) {
  auto make = [](Queue::Kind kind, int64_t capacity, std::vector<PartialShape> shapes, int64_t stay) {
    Queue::Options o;
    o.kind = kind;
    o.types = {DType::kFloat};
    o.shapes = std::move(shapes);
    o.capacity = capacity;
    o.min_after_dequeue = stay;
    return Describe(Queue::Make(o).status());
  };
  EXPECT_THAT(make(Queue::kFifo, 0, {}, 0), HasSubstr("a capacity of 0 holds nothing"));
  EXPECT_THAT(make(Queue::kFifo, -1, {PartialShape({-1})}, 0), HasSubstr("must be fully known, found [?]"));
  EXPECT_THAT(make(Queue::kPadding, -1, {}, 0), HasSubstr("needs a shape for each component"));
  EXPECT_THAT(make(Queue::kShuffle, 5, {}, 5), HasSubstr("less than the capacity"));
  EXPECT_THAT(make(Queue::kPriority, 5, {}, 0), HasSubstr("must be int64"));
}

TEST_F(QueueTest, ShuffleKeepsItsReserveAndRepeatsBySeed) {
  auto draw = [&](int64_t seed) {
    Queue::Options o;
    o.kind = Queue::kShuffle;
    o.min_after_dequeue = 2;
    o.seed = seed;
    Make(o);
    PutMany({0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
    std::string first = TakeMany(8)->Text();
    Outcome* more = TakeMany(2);
    EXPECT_EQ(more->Text(), "waits") << "two elements stay until the queue is closed";
    EXPECT_EQ(q_->Close(false), absl::OkStatus());
    return absl::StrCat(first, " | ", more->Text());
  };
  std::string one = draw(7);
  EXPECT_EQ(draw(7), one);
  EXPECT_NE(draw(8), one);
  EXPECT_NE(one, "float [8] 0 1 2 3 4 5 6 7 | float [2] 8 9");
}

TEST_F(QueueTest, PaddingFillsToTheLargestOfTheBatch) {
  Queue::Options o;
  o.kind = Queue::kPadding;
  o.shapes = {PartialShape({-1, -1})};
  Make(o);
  auto put = [&](Shape s, std::vector<float> x) {
    q_->Enqueue({Tensor::FromValues<float>(s, x)}, nullptr, -1, Add()->Done());
  };
  put({1, 3}, {1, 2, 3});
  put({2, 1}, {4, 5});
  EXPECT_EQ(TakeMany(2)->Text(), "float [2,2,3] 1 2 3 0 0 0 4 0 0 5 0 0");
}

TEST_F(QueueTest, PriorityYieldsTheLeastFirstAndEqualsInOrderOfArrival) {
  Queue::Options o;
  o.kind = Queue::kPriority;
  o.types = {DType::kInt64, DType::kString};
  Make(o);
  auto put = [&](int64_t priority, const char* text) {
    q_->Enqueue({Tensor::Scalar(priority), Tensor::Scalar<std::string>(text)}, nullptr, -1, Add()->Done());
  };
  put(5, "late");
  put(1, "a");
  put(-3, "first");
  put(1, "b");
  EXPECT_EQ(TakeMany(4)->Text(), "int64 [4] -3 1 1 5; string [4] 'first' 'a' 'b' 'late'");
}

TEST_F(QueueTest, ManyThreadsLoseAndRepeatNothing) {
  Queue::Options o;
  o.capacity = 7;
  Make(o);
  constexpr int kThreads = 6, kEach = 500;
  std::atomic<int64_t> sum{0}, taken{0};
  std::atomic<int> cancelled{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        absl::Notification put;
        q_->Enqueue({Tensor::Scalar(static_cast<float>(t * kEach + i))}, nullptr, -1,
                    [&](absl::Status) { put.Notify(); });
        put.WaitForNotification();
      }
    });
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        // Every third wait may be cancelled; then it is begun again.
        while (true) {
          CancellationToken token;
          absl::Notification ended;
          absl::Status status;
          q_->Dequeue(
              &token, -1,
              [&](Queue::Element e) {
                sum += static_cast<int64_t>(e[0].scalar<float>());
                ++taken;
                return absl::OkStatus();
              },
              [&](absl::Status s) {
                status = std::move(s);
                ended.Notify();
              });
          if (i % 3 == t % 3) token.Cancel(absl::CancelledError("again"));
          ended.WaitForNotification();
          if (status.ok()) break;
          ++cancelled;
        }
      }
    });
  }
  for (std::thread& t : threads) t.join();
  constexpr int64_t kAll = kThreads * kEach;
  EXPECT_EQ(taken, kAll);
  EXPECT_EQ(sum, kAll * (kAll - 1) / 2);
  EXPECT_EQ(q_->size(), 0);
}

class AccumulatorTest : public ::testing::Test {
 protected:
  void Make(bool sparse = false, bool mean = true, PartialShape shape = PartialShape({-1})) {
    Accumulator::Options o;
    o.sparse = sparse;
    o.name = "a";
    o.shape = std::move(shape);
    o.mean = mean;
    a_ = MakeRef<Accumulator>(o);
  }
  std::string Apply(int64_t step, std::vector<float> g, int64_t replica = Accumulator::kNoReplica) {
    return Describe(a_->Apply(step, replica, Tensor::Vector<float>(g)));
  }
  std::string ApplyRows(int64_t step, std::vector<int64_t> indices, std::vector<float> values) {
    Tensor v = Tensor::FromValues<float>(Shape({static_cast<int64_t>(indices.size()), 1}), values);
    return Describe(a_->ApplyRows(step, -1, Tensor::Vector<int64_t>(indices), v, PartialShape()));
  }
  template <typename Required>
  std::unique_ptr<Outcome> Take(Required required, CancellationToken* token = nullptr) {
    auto o = std::make_unique<Outcome>();
    a_->Take(
        required, token,
        [o = o.get()](Gradient g) {
          o->value = absl::StrCat(absl::StrJoin(g.indices, ","), g.indices.empty() ? "" : ": ", g.values.ToString());
          return absl::OkStatus();
        },
        o->Done());
    return o;
  }
  RefPtr<Accumulator> a_;
};

TEST_F(AccumulatorTest, AveragesWhatHasArrivedAndBeginsTheNextStep) {
  Make();
  auto take = Take(2);
  EXPECT_EQ(Apply(0, {1, 10}), "OK");
  EXPECT_EQ(take->Text(), "waits");
  EXPECT_EQ(a_->num_accumulated(), 1);
  EXPECT_EQ(Apply(0, {2, 20}), "OK");
  EXPECT_EQ(take->Text(), "float [2] 1.5 15");
  EXPECT_EQ(Apply(0, {100, 100}), "OK") << "late gradients are dropped without an error";
  EXPECT_EQ(a_->num_accumulated(), 0);
  EXPECT_EQ(Apply(1, {4, 4}), "OK");
  EXPECT_EQ(Take(1)->Text(), "float [2] 4 4");
  EXPECT_EQ(a_->SetGlobalStep(10), absl::OkStatus());
  EXPECT_EQ(Apply(9, {1, 1}), "OK");
  EXPECT_EQ(a_->num_accumulated(), 0);
}

TEST_F(AccumulatorTest, TakesAreServedInLineAndCanBeCancelled) {
  Make(false, false);
  CancellationToken token;
  auto first = Take(1), second = Take(2, &token), third = Take(1);
  Apply(0, {1});
  EXPECT_EQ(first->Text(), "float [1] 1");
  Apply(1, {2});
  EXPECT_EQ(third->Text(), "waits");
  token.Cancel(absl::CancelledError("stop"));
  EXPECT_EQ(second->Text(), "CANCELLED: stop");
  EXPECT_EQ(third->Text(), "float [1] 2");
  EXPECT_THAT(Take(0)->Text(), HasSubstr("must be positive"));
}

TEST_F(AccumulatorTest, GradientsWithAReplicaAreAddedInTheOrderOfReplicas) {
  // In float 1e8 + 1 - 1e8 is 0, 1e8 - 1e8 + 1 is 1: the order shows.
  const std::vector<float> g = {1e8f, -1e8f, 1};
  std::vector<int> order = {0, 1, 2};
  do {
    Make(false, false);
    for (int r : order) Apply(0, {g[r]}, r);
    EXPECT_EQ(Take(3)->Text(), "float [1] 1");
  } while (std::next_permutation(order.begin(), order.end()));
  Make(false, false);
  for (int r : {2, 1, 0}) Apply(0, {g[r]}, r);
  EXPECT_EQ(Take(std::vector<int64_t>{0, 2, 1})->Text(), "float [1] 0");
}

TEST_F(AccumulatorTest, NoReplicaCountsTwiceInAStepAndBackupsAreLeftOut) {
  Make(false, true);
  Apply(0, {1}, 4);
  Apply(0, {50}, 4);
  auto take = Take(2);
  EXPECT_EQ(take->Text(), "waits");
  Apply(0, {3}, 2);
  EXPECT_EQ(take->Text(), "float [1] 2");
  for (int r : {0, 1, 2}) Apply(1, {static_cast<float>(r)}, r);
  EXPECT_EQ(Take(std::vector<int64_t>{0, 2})->Text(), "float [1] 1");
  EXPECT_EQ(a_->num_accumulated(), 0) << "replica 1 came too late for this step";
  EXPECT_THAT(Take(std::vector<int64_t>{1, 1})->Text(), HasSubstr("must be distinct"));
  Apply(2, {1}, 0);
  EXPECT_THAT(Apply(2, {1}), HasSubstr("without cannot be added"));
}

TEST_F(AccumulatorTest, GradientsWithAReplicaCountForTheirOwnStepOnly) {
  Make(false, false);
  Apply(5, {50}, 0);  // comes before anybody has said which step it is
  auto take = Take(1);
  EXPECT_EQ(take->Text(), "waits");
  EXPECT_EQ(a_->SetGlobalStep(5), absl::OkStatus());
  EXPECT_EQ(take->Text(), "float [1] 50");
  Apply(7, {70}, 0);
  Apply(9, {90}, 0);
  Apply(6, {60}, 0);  // it went back: what it gave for later steps was undone
  EXPECT_EQ(a_->num_accumulated(), 1);
  EXPECT_EQ(Take(1)->Text(), "float [1] 60");
  EXPECT_EQ(Take(1)->Text(), "waits");
}

TEST_F(AccumulatorTest, RowsAreAveragedEachByItsOwnCount) {
  Make(true, true, PartialShape({10, 1}));
  EXPECT_EQ(ApplyRows(0, {7, 2, 7}, {1, 2, 3}), "OK");
  EXPECT_EQ(ApplyRows(0, {2, 5}, {4, 6}), "OK");
  EXPECT_EQ(Take(2)->Text(), "2,5,7: float [3,1] 3 6 4");
  EXPECT_THAT(ApplyRows(1, {10}, {1}), HasSubstr("index 10 is outside"));
  EXPECT_THAT(ApplyRows(1, {-1}, {1}), HasSubstr("index -1 is outside"));
  EXPECT_EQ(ApplyRows(1, {}, {}), "OK");
  EXPECT_EQ(Take(1)->Text(), "float [0,1]");
}

TEST_F(AccumulatorTest, TheLastStepEndsTakesUntilAnotherIsSet) {
  Make();
  auto waiting = Take(1);
  EXPECT_EQ(a_->SetGlobalStep(INT64_MAX), absl::OkStatus());
  EXPECT_THAT(waiting->Text(), HasSubstr("OUT_OF_RANGE: ConditionalAccumulator 'a' has ended"));
  EXPECT_THAT(Take(1)->Text(), HasSubstr("OUT_OF_RANGE"));
  EXPECT_EQ(Apply(0, {5}, 1), "OK");
  EXPECT_EQ(Apply(8, {9}, 2), "OK");
  EXPECT_EQ(a_->SetGlobalStep(0), absl::OkStatus());
  EXPECT_EQ(a_->num_accumulated(), 1) << "that of step 8 was undone";
  EXPECT_EQ(Take(1)->Text(), "float [1] 5");
}

TEST_F(AccumulatorTest, WrongGradientsAreRefused) {
  Make(false, true, PartialShape({2}));
  EXPECT_THAT(Apply(0, {1}), HasSubstr("does not fit ConditionalAccumulator 'a' of shape [2]"));
  EXPECT_THAT(Describe(a_->Apply(0, -1, Tensor::Scalar<int32_t>(1))), HasSubstr("adds float, found int32"));
  Make();
  Apply(0, {1});
  EXPECT_THAT(Apply(0, {1, 2}), HasSubstr("cannot be added to one of shape [1]"));
  EXPECT_EQ(a_->num_accumulated(), 1);
}

class BarrierTest : public ::testing::Test {
 protected:
  BarrierTest() {
    Barrier::Options o;
    o.name = "b";
    o.types = {DType::kFloat, DType::kInt32};
    b_ = *Barrier::Make(o);
  }
  std::string Insert(std::vector<std::string> keys, std::vector<float> x) {
    return Describe(b_->Insert(Tensor::Vector<std::string>(keys), Tensor::Vector<float>(x), 0));
  }
  std::string Insert(std::vector<std::string> keys, std::vector<int32_t> x) {
    return Describe(b_->Insert(Tensor::Vector<std::string>(keys), Tensor::Vector<int32_t>(x), 1));
  }
  std::unique_ptr<Outcome> Take(int64_t n, bool small = false, bool wait = false) {
    auto o = std::make_unique<Outcome>();
    b_->Take(
        n, small, wait, nullptr, -1,
        [o = o.get()](Barrier::Batch b) {
          for (int64_t i = 0; i < b.keys.num_elements(); ++i) {
            absl::StrAppend(&o->value, b.indices.data<int64_t>()[i] - INT64_MIN, b.keys.data<std::string>()[i], " ");
          }
          o->value += absl::StrCat(b.values[0].ToString(), "; ", b.values[1].ToString());
          return absl::OkStatus();
        },
        o->Done());
    return o;
  }
  RefPtr<Barrier> b_;
};

TEST_F(BarrierTest, TuplesComeInTheOrderInWhichTheirKeysWereFirstSeen) {
  auto take = Take(2);
  EXPECT_EQ(Insert({"x", "y", "z"}, std::vector<float>{1, 2, 3}), "OK");
  EXPECT_EQ(Insert({"z", "y"}, std::vector<int32_t>{30, 20}), "OK");
  EXPECT_EQ(take->Text(), "1y 2z float [2] 2 3; int32 [2] 20 30");
  EXPECT_EQ(b_->incomplete_size(), 1);
  EXPECT_THAT(Insert({"w", "x"}, std::vector<float>{1, 2}), HasSubstr("'x' already has a value for component 0"));
  EXPECT_EQ(b_->incomplete_size(), 1) << "all or nothing";
}

TEST_F(BarrierTest, AClosedBarrierTakesNoNewKeys) {
  Insert({"x", "y"}, std::vector<float>{1, 2});
  auto both = Take(2);
  EXPECT_EQ(b_->Close(false), absl::OkStatus());
  EXPECT_THAT(Insert({"n"}, std::vector<float>{1}), HasSubstr("CANCELLED"));
  EXPECT_EQ(Insert({"y"}, std::vector<int32_t>{20}), "OK");
  EXPECT_EQ(both->Text(), "waits");
  auto some = Take(5, true, true), at_once = Take(5, true);
  EXPECT_EQ(Insert({"x"}, std::vector<int32_t>{10}), "OK");
  EXPECT_EQ(both->Text(), "0x 1y float [2] 1 2; int32 [2] 10 20");
  EXPECT_THAT(some->Text(), HasSubstr("OUT_OF_RANGE: Barrier 'b' is closed and has insufficient elements"));
  EXPECT_THAT(at_once->Text(), HasSubstr("OUT_OF_RANGE"));
}

TEST_F(BarrierTest, SmallBatchesAndCancelledRests) {
  Insert({"x", "y"}, std::vector<float>{1, 2});
  Insert({"y"}, std::vector<int32_t>{20});
  auto four = Take(4);
  EXPECT_EQ(b_->Close(true), absl::OkStatus());
  EXPECT_THAT(four->Text(), HasSubstr("OUT_OF_RANGE"));
  EXPECT_THAT(Insert({"x"}, std::vector<int32_t>{10}), HasSubstr("CANCELLED"));
  EXPECT_EQ(Take(4, true, true)->Text(), "1y float [1] 2; int32 [1] 20");
}

TEST(WorkerClockTest, AWaitEndsWhenTheSlowestHasComeFarEnough) {
  WorkerClock::Options o;
  o.name = "c";
  o.num_workers = 3;
  RefPtr<WorkerClock> clock = *WorkerClock::Make(o);
  auto wait = [&](int64_t at_least, CancellationToken* token = nullptr) {
    auto out = std::make_unique<Outcome>();
    clock->Wait(
        at_least, token, -1,
        [out = out.get()](int64_t least) {
          out->value = absl::StrCat(least);
          return absl::OkStatus();
        },
        out->Done());
    return out;
  };
  EXPECT_EQ(wait(0)->Text(), "0");
  auto one = wait(1), two = wait(2);
  EXPECT_EQ(clock->Set(0, 5), absl::OkStatus());
  EXPECT_EQ(clock->Set(1, 1), absl::OkStatus());
  EXPECT_EQ(one->Text(), "waits");
  EXPECT_EQ(clock->Title(), "WorkerClock 'c': the least clock is 0, of worker 2");
  EXPECT_EQ(clock->Set(2, 2), absl::OkStatus());
  EXPECT_EQ(one->Text(), "1");
  EXPECT_EQ(two->Text(), "waits");
  EXPECT_EQ(clock->Set(1, 7), absl::OkStatus());
  EXPECT_EQ(two->Text(), "2");
  EXPECT_EQ(clock->Set(1, 0), absl::OkStatus()) << "after a restore";
  EXPECT_THAT(clock->Read(), ::testing::ElementsAre(5, 0, 2));
  CancellationToken token;
  auto cancelled = wait(1, &token);
  token.Cancel(absl::CancelledError("stop"));
  EXPECT_EQ(cancelled->Text(), "CANCELLED: stop");
  EXPECT_THAT(Describe(clock->Set(3, 1)), HasSubstr("worker 3 is not one of the 3"));
  o.num_workers = 0;
  EXPECT_THAT(Describe(WorkerClock::Make(o).status()), HasSubstr("num_workers must be 1 to"));
}

}  // namespace
}  // namespace sluice
