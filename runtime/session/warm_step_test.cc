// A warm step takes nothing from the heap: every allocation function of the process is counted here.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "core/graph/text.h"
#include "core/testing/test_ops.h"
#include "kernels/control/control_kernels.h"
#include "ops/control/control_ops.h"
#include "runtime/session/session.h"

namespace {
std::atomic<int64_t> heap_calls{0};

void* Counted(size_t bytes) {
  heap_calls.fetch_add(1, std::memory_order_relaxed);
  void* p = std::malloc(bytes == 0 ? 1 : bytes);
  if (p == nullptr) std::abort();
  return p;
}
}  // namespace

void* operator new(size_t bytes) { return Counted(bytes); }
void* operator new[](size_t bytes) { return Counted(bytes); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t) noexcept { std::free(p); }

namespace sluice {
namespace {

class WarmStepTest : public ::testing::Test {
 protected:
  WarmStepTest() {
    DefineControlOps(ops_);
    DefineTestOps(ops_);
    AddControlKernelsCpu(kernels_);
    AddTestKernels(kernels_);
    EXPECT_TRUE(ops_.Finish().ok());
    environment_.ops = &ops_;
    environment_.kernels = &kernels_;
  }
  // Heap calls of 100 steps after 10 to warm up.
  int64_t HeapCalls(absl::string_view text, Tensor x) {
    Graph graph(&ops_);
    EXPECT_TRUE(ParseGraphText(text, &graph).ok());
    Session session(environment_, {}, &graph);
    auto callable = session.MakeCallable({{"x:0"}, {"y:0"}, {}});
    std::vector<Tensor> y;
    auto run = [&](int steps) {
      for (int i = 0; i < steps; ++i) {
        absl::Status s = session.RunCallable(**callable, absl::MakeConstSpan(&x, 1), &y);
        ASSERT_TRUE(s.ok()) << s;
      }
    };
    run(10);
    int64_t before = heap_calls.load();
    run(100);
    return heap_calls.load() - before;
  }
  OpRegistry ops_;
  KernelRegistry kernels_;
  Environment environment_;
};

TEST_F(WarmStepTest, StaticShapesTakeNothingFromTheHeap) {
  EXPECT_EQ(
      HeapCalls("x = Placeholder(dtype=float, shape=[64]); a = TestMix(x, N=1); b = TestAdd(a, x); v = TestReshape(b, "
                "shape=[8,8]); c = TestMix(v, a, N=2); y = TestAdd(c, v)",
                Tensor::FromValues<float>(Shape({64}), std::vector<float>(64, 1))),
      0);
}

TEST_F(WarmStepTest, ShapesThatAreNotKnownTakeNothingFromTheHeapEither) {
  EXPECT_EQ(HeapCalls("x = Placeholder(dtype=float); a = TestMix(x, N=1); b = TestUnknown(a); y = TestAdd(b, a)",
                      Tensor::FromValues<float>(Shape({64}), std::vector<float>(64, 1))),
            0);
}

TEST_F(WarmStepTest, TheCounterCounts) {
  int64_t before = heap_calls.load();
  ::operator delete(::operator new(8));  // a call of its own, which no compiler may leave out
  EXPECT_EQ(heap_calls.load() - before, 1);
}

}  // namespace
}  // namespace sluice
