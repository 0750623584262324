#include "runtime/placer/placer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_join.h"
#include "core/graph/text.h"
#include "core/testing/test_ops.h"
#include "kernels/control/control_kernels.h"
#include "ops/control/control_ops.h"

namespace sluice {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class TestKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override { return absl::OkStatus(); }
};

// Two CPUs and a GPU that knows TestAdd, constants and identities.
class PlacerTest : public ::testing::Test {
 protected:
  PlacerTest() {
    DefineControlOps(ops_);
    DefineTestOps(ops_);
    ops_.Define("TestVar", "").Output("ref", "Ref(float)").Traits(kStateful).Shape(ScalarShape());
    ops_.Define("TestAssign", "")
        .Input("ref", "Ref(float)")
        .Input("value", "float")
        .Traits(kWritesState)
        .Shape(NoOutputs());
    EXPECT_TRUE(ops_.Finish().ok()) << ops_.Finish();
    AddControlKernelsCpu(kernels_);
    AddTestKernels(kernels_);
    for (const char* op : {"TestVar", "TestAssign"}) kernels_.Add(op, kCpu, KernelDef().Make<TestKernel>());
    for (const char* op : {"TestAdd", "Const", "Identity", "TestVar"})
      kernels_.Add(op, kCuda, KernelDef().Make<TestKernel>());
  }

  // "node:CPU:0 ..." in order of creation, or the error.
  std::string Place(absl::string_view text, bool soft = false,
                    std::vector<std::string> names = {"CPU:0", "CPU:1", "GPU:0"}) {
    graph_ = std::make_unique<Graph>(&ops_);
    absl::Status parsed = ParseGraphText(text, graph_.get());
    EXPECT_TRUE(parsed.ok()) << parsed;
    std::vector<PlacerDevice> devices;
    for (const std::string& n : names) devices.push_back(*MakePlacerDevice("/job:a/replica:0/task:0/device:" + n));
    PlacerOptions options;
    options.kernels = &kernels_;
    options.soft_placement = soft;
    auto explained = PlaceGraph(graph_.get(), devices, options);
    if (!explained.ok()) return std::string(explained.status().message());
    explanation_ = *explained;
    std::vector<std::string> out;
    for (Node* n : graph_->nodes()) out.push_back(absl::StrCat(n->name(), "@", n->assigned_device().substr(31)));
    return absl::StrJoin(out, " ");
  }

  OpRegistry ops_;
  KernelRegistry kernels_;
  std::unique_ptr<Graph> graph_;
  std::string explanation_;
};

TEST_F(PlacerTest, PrefersAcceleratorsThenTheFirstDevice) {
  EXPECT_EQ(Place("a = Const(value=float[1]{1}); b = TestAdd(a, a); c = TestMix(b, N=1)"), "a@GPU:0 b@GPU:0 c@CPU:0");
}

TEST_F(PlacerTest, FollowsDeviceStringsWholeAndPartial) {
  EXPECT_EQ(Place("a = Const(value=float[1]{1}) @/cpu:1; b = TestAdd(a, a) @/device:CPU:1; c = TestAdd(b, b) "
                  "@/job:a/device:CPU:*"),
            "a@CPU:1 b@CPU:1 c@CPU:0");
}

TEST_F(PlacerTest, SourcesGoToTheirConsumersAndPassThroughsStayWithTheirInput) {
  EXPECT_EQ(Place("a = Const(value=float[1]{1}); b = TestAdd(a, a) @/cpu:1; c = Identity(b)"),
            "a@CPU:1 b@CPU:1 c@CPU:1");
}

TEST_F(PlacerTest, ClassesAndReferencesStayTogether) {
  EXPECT_EQ(Place("v = TestVar() @/cpu:1; x = Const(value=float[]{1}); s = TestAssign(v, x); "
                  "y = TestAdd(x, x, _class=['loc:@v'])"),
            "v@CPU:1 x@CPU:1 s@CPU:1 y@CPU:1");
  EXPECT_THAT(explanation_,
              AllOf(HasSubstr("s (TestAssign): /job:a/replica:0/task:0/device:CPU:1 because 'v' asks for '/cpu:1'; it "
                              "uses the reference of 'v'"),
                    HasSubstr("colocated with 'v'")));
}

TEST_F(PlacerTest, AGroupGoesWhereAllOfItHasKernels) {
  EXPECT_EQ(Place("v = TestVar(); x = Const(value=float[]{1}); s = TestAssign(v, x)"), "v@CPU:0 x@CPU:0 s@CPU:0");
}

TEST_F(PlacerTest, NamesConstraintsThatContradict) {
  const char* text = "v = TestVar() @/cpu:1; x = Const(value=float[]{1}); s = TestAssign(v, x) @/cpu:0";
  EXPECT_THAT(Place(text),
              AllOf(HasSubstr("cannot place TestAssign 's' on '/cpu:0'"),
                    HasSubstr("TestVar 'v', which is on '/cpu:1'"), HasSubstr("it uses the reference of 'v'")));
  EXPECT_EQ(Place(text, /*soft=*/true), "v@CPU:1 x@CPU:1 s@CPU:1");
}

TEST_F(PlacerTest, SaysWhichDevicesThereAre) {
  const char* text = "a = Const(value=float[1]{1}); b = TestAdd(a, a) @/gpu:3";
  EXPECT_THAT(Place(text),
              AllOf(HasSubstr("TestAdd 'b': it asks for '/device:GPU:3'"), HasSubstr("device:CPU:0, /job:a")));
  EXPECT_EQ(Place(text, /*soft=*/true, {"CPU:0"}), "a@CPU:0 b@CPU:0");
}

TEST_F(PlacerTest, SaysWhichKernelIsMissing) {
  const char* text = "a = Const(value=float[1]{1}); b = TestMix(a, N=1) @/gpu:0";
  EXPECT_THAT(Place(text),
              AllOf(HasSubstr("cannot place TestMix 'b'"), HasSubstr("no kernel on GPU"), HasSubstr("CPU: any types")));
  EXPECT_EQ(Place(text, /*soft=*/true), "a@CPU:0 b@CPU:0");
}

}  // namespace
}  // namespace sluice
