#include "runtime/placer/placer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "core/graph/function.h"
#include "core/graph/text.h"
#include "core/testing/test_ops.h"
#include "kernels/control/control_kernels.h"
#include "ops/control/control_ops.h"
#include "runtime/placer/conflict.h"

namespace sluice {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class TestKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override { return absl::OkStatus(); }
};

// Two CPUs and a GPU that knows TestAdd, constants, identities and variables.
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
    ops_.Define("TestHandle", "").Output("handle", "resource").Traits(kStateful).Shape(ScalarShape());
    ops_.Define("TestUse", "")
        .Input("handle", "resource")
        .Output("y", "float")
        .Traits(kReadsState)
        .Shape(ScalarShape());
    ops_.Define("TestHost", "").Input("x", "float").Output("y", "float").Traits(kHostOnly).Shape(SameAs("x"));
    ops_.Define("TestBoth", "").Input("x", "float").Output("y", "float").Shape(SameAs("x"));
    ops_.Define("TestNowhere", "").Output("y", "float").Shape(ScalarShape());
    EXPECT_TRUE(ops_.Finish().ok()) << ops_.Finish();
    AddControlKernelsCpu(kernels_);
    AddTestKernels(kernels_);
    for (const char* op : {"TestVar", "TestAssign", "TestHandle", "TestUse", "TestHost"}) {
      kernels_.Add(op, kCpu, KernelDef().Make<TestKernel>());
    }
    for (const char* op : {"TestAdd", "Const", "Identity", "TestVar"}) {
      kernels_.Add(op, kCuda, KernelDef().Make<TestKernel>());
    }
    kernels_.Add("TestBoth", kCpu, KernelDef().Priority(2).Make<TestKernel>());
    kernels_.Add("TestBoth", kCuda, KernelDef().Make<TestKernel>());
    options_.kernels = &kernels_;
    Devices({"CPU:0", "CPU:1", "GPU:0"});
  }

  void Devices(const std::vector<std::string>& names) {
    devices_.clear();
    for (const std::string& n : names) {
      devices_.push_back(*MakePlacerDevice(n[0] == '/' ? n : absl::StrCat("/job:a/replica:0/task:0/device:", n)));
    }
  }

  // "node@CPU:0 ..." in order of creation, tasks other than the first as "node@/job:b/task:1/CPU:0", or the error.
  std::string Place(absl::string_view text) {
    graph_ = std::make_unique<Graph>(&ops_);
    if (prepare_) prepare_(graph_.get());
    absl::Status parsed = ParseGraphText(text, graph_.get());
    EXPECT_TRUE(parsed.ok()) << parsed;
    auto explained = PlaceGraph(graph_.get(), devices_, options_);
    explanation_ = explained.value_or("");
    if (!explained.ok()) return std::string(explained.status().message());
    std::vector<std::string> out;
    for (Node* n : graph_->nodes()) {
      out.push_back(absl::StrCat(
          n->name(), "@",
          absl::StrReplaceAll(n->assigned_device(),
                              {{"/job:a/replica:0/task:0/device:", ""}, {"/replica:0", ""}, {"/device:", "/"}})));
    }
    return absl::StrJoin(out, " ");
  }
  std::string PlaceSoftly(absl::string_view text) {
    options_.soft_placement = true;
    std::string placed = Place(text);
    options_.soft_placement = false;
    return placed;
  }
  // What the report says of a node, without its op and device.
  std::string Why(absl::string_view node) {
    for (absl::string_view line : absl::StrSplit(explanation_, '\n')) {
      if (absl::StartsWith(line, absl::StrCat(node, " ("))) {
        return std::string(line.substr(line.find(" because ") + 9));
      }
    }
    return "";
  }

  OpRegistry ops_;
  KernelRegistry kernels_;
  PlacerOptions options_;
  std::vector<PlacerDevice> devices_;
  std::function<void(Graph*)> prepare_;
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

TEST_F(PlacerTest, ShapeArithmeticStaysWithItsInput) {
  EXPECT_EQ(Place("x = Const(value=float[1]{1}); a = TestUnknown(x); b = TestAdd(a, a) @/cpu:1; c = Identity(b); "
                  "d = Identity(c)"),
            "x@CPU:0 a@CPU:0 b@CPU:1 c@CPU:1 d@CPU:1");
  EXPECT_EQ(Why("d"), "its input 'c' is there");
}

TEST_F(PlacerTest, ClassesAndReferencesStayTogether) {
  EXPECT_EQ(Place("v = TestVar() @/cpu:1; x = Const(value=float[]{1}); s = TestAssign(v, x); "
                  "y = TestAdd(x, x, _class=['loc:@v'])"),
            "v@CPU:1 x@CPU:1 s@CPU:1 y@CPU:1");
  EXPECT_EQ(Why("s"), "'v' asks for '/cpu:1'; it uses the reference of 'v', together with 'v', 'y'");
  EXPECT_EQ(Why("y"), "'v' asks for '/cpu:1'; it is colocated with 'v', together with 'v', 's'");
  EXPECT_EQ(Why("v"), "'v' asks for '/cpu:1'; it leads, together with 's', 'y'");
}

TEST_F(PlacerTest, MembersOfAClassStayTogetherWhenItsNamesakeIsNotThere) {
  EXPECT_EQ(Place("x = Const(value=float[]{1}) @/cpu:1; a = TestAdd(x, x, _class=['loc:@gone']) @/cpu:1; "
                  "b = TestAdd(x, x, _class=['loc:@gone'])"),
            "x@CPU:1 a@CPU:1 b@CPU:1");
  EXPECT_EQ(Why("b"), "'a' asks for '/cpu:1'; it is colocated with 'gone', as is 'a', together with 'a'");
}

TEST_F(PlacerTest, WishesOfAGroupAreMerged) {
  Devices({"CPU:0", "CPU:1", "/job:b/replica:0/task:0/device:CPU:0", "/job:b/replica:0/task:0/device:CPU:1"});
  EXPECT_EQ(Place("v = TestHandle() @/job:b; a = TestUse(v) @/cpu:1"), "v@/job:b/task:0/CPU:1 a@/job:b/task:0/CPU:1");
  EXPECT_EQ(Why("a"),
            "'v' asks for '/job:b' and 'a' asks for '/cpu:1', together '/job:b/device:CPU:1'; it uses the "
            "resource of 'v', together with 'v'");
}

TEST_F(PlacerTest, AGroupGoesWhereAllOfItHasKernels) {
  EXPECT_EQ(Place("v = TestVar(); x = Const(value=float[]{1}); s = TestAssign(v, x)"), "v@CPU:0 x@CPU:0 s@CPU:0");
  EXPECT_EQ(Why("v"),
            "it is the default (of 2 devices that fit); 's' has no kernel on GPU; it leads, together with "
            "'s'");
}

TEST_F(PlacerTest, KernelPriorityComesBeforeTheKindOfDevice) {
  EXPECT_EQ(Place("x = Const(value=float[]{1}) @/gpu:0; a = TestBoth(x)"), "x@GPU:0 a@CPU:0");
  EXPECT_EQ(Why("a"), "its kernel has the highest priority there (of 3 devices that fit)");
  EXPECT_EQ(Place("x = Const(value=float[]{1}); a = TestBoth(x) @/gpu:0"), "x@GPU:0 a@GPU:0");
}

TEST_F(PlacerTest, NodesForTheHostIgnoreAnAccelerator) {
  EXPECT_EQ(Place("x = Const(value=float[]{1}); a = TestHost(x) @/job:a/gpu:7"), "x@CPU:0 a@CPU:0");
}

TEST_F(PlacerTest, TheDefaultIsTheTaskOfTheFirstDeviceOrTheOneGiven) {
  Devices({"CPU:0", "/job:b/replica:0/task:0/device:CPU:0", "/job:b/replica:0/task:1/device:CPU:0",
           "/job:b/replica:0/task:1/device:GPU:0"});
  const char* text =
      "x = Const(value=float[]{1}); a = TestAdd(x, x); b = TestAdd(a, a) @/job:b; "
      "c = TestAdd(a, a) @/task:1; d = TestAdd(a, a) @/gpu:0";
  EXPECT_EQ(Place(text), "x@CPU:0 a@CPU:0 b@/job:b/task:1/GPU:0 c@/job:b/task:1/GPU:0 d@/job:b/task:1/GPU:0");
  options_.default_device = "/job:b/task:0";
  EXPECT_EQ(Place(text),
            "x@/job:b/task:0/CPU:0 a@/job:b/task:0/CPU:0 b@/job:b/task:0/CPU:0 c@/job:b/task:1/GPU:0 "
            "d@/job:b/task:1/GPU:0");
  options_.default_device = "/job:b/task:1/cpu:0";
  EXPECT_EQ(Place("x = Const(value=float[]{1}); a = TestAdd(x, x)"), "x@/job:b/task:1/CPU:0 a@/job:b/task:1/CPU:0");
}

TEST_F(PlacerTest, WhoUsesStateFollowsItsOwner) {
  EXPECT_EQ(Place("v = TestVar() @/cpu:1; x = Const(value=float[]{1}); s = TestAssign(v, x) @/cpu:0"),
            "v@CPU:1 x@CPU:1 s@CPU:1");
  EXPECT_THAT(Why("s"), HasSubstr("it asked for '/cpu:0' itself, which gives way to the owner of what it uses"));
  EXPECT_EQ(Place("v = TestHandle() @/cpu:1; a = TestUse(v) @/cpu:0; b = TestUse(v) @/gpu:0"),
            "v@CPU:1 a@CPU:1 b@CPU:1");
}

TEST_F(PlacerTest, StateStaysWhereAnEarlierPlanPutIt) {
  PlacementHistory history;
  options_.history = &history;
  EXPECT_EQ(Place("v = TestHandle(); a = TestUse(v) @/cpu:1"), "v@CPU:1 a@CPU:1");
  EXPECT_EQ(Place("v = TestHandle(); b = TestUse(v)"), "v@CPU:1 b@CPU:1");
  EXPECT_THAT(Why("b"), HasSubstr("'v' is on '/job:a/replica:0/task:0/device:CPU:1' since an earlier step"));
  EXPECT_EQ(Place("v = TestHandle(); b = TestUse(v) @/cpu:0"), "v@CPU:1 b@CPU:1");
  EXPECT_THAT(Place("v = TestHandle(); w = TestHandle(_class=['loc:@v']) @/cpu:0"),
              AllOf(HasSubstr("TestHandle 'v' is on '/job:a/replica:0/task:0/device:CPU:1' since an earlier step"),
                    HasSubstr("TestHandle 'w' asks for '/cpu:0'")));
}

TEST_F(PlacerTest, AnAssignedDeviceIsKept) {
  graph_ = std::make_unique<Graph>(&ops_);
  ASSERT_TRUE(ParseGraphText("x = Const(value=float[]{1}); a = TestAdd(x, x) @/cpu:0", graph_.get()).ok());
  graph_->Find("a")->set_assigned_device("/job:a/replica:0/task:0/device:CPU:1");
  ASSERT_TRUE(PlaceGraph(graph_.get(), devices_, options_).ok());
  EXPECT_EQ(graph_->Find("a")->assigned_device(), "/job:a/replica:0/task:0/device:CPU:1");
}

// --- Functions ---

// Adds a function "use" of two resources, and "own" that declares the variable 'r' on /cpu:1.
void AddFunctions(Graph* graph) {
  for (const char* name : {"use", "own"}) {
    auto f = std::make_unique<Function>();
    f->name = name;
    f->body = std::make_unique<Graph>(&graph->ops());
    const bool use = f->name == "use";
    absl::Status parsed = ParseGraphText(
        use ? "a = _Arg(T=resource, index=0); b = _Arg(T=resource, index=1); x = TestUse(a); y = TestUse(b); "
              "z = TestAdd(x, y); r = _Retval(z, index=0)"
            : "v = TestVar() @/cpu:1; x = Const(value=float[]{1}); s = TestAssign(v, x); r = _Retval(x, index=0)",
        f->body.get());
    EXPECT_TRUE(parsed.ok()) << parsed;
    if (use) f->args = {{"a", DType::kResource, {}}, {"b", DType::kResource, {}}};
    f->results = {{"r", DType::kFloat, {}}};
    EXPECT_TRUE(graph->functions().Add(std::move(f)).ok());
  }
}

TEST_F(PlacerTest, AFunctionUsesResourcesOfSeveralDevicesOfItsTask) {
  prepare_ = AddFunctions;
  const char* text =
      "v = TestHandle() @/cpu:1; w = TestHandle() @/cpu:0; c = StatefulPartitionedCall(v, w, f=@use, Tout=[float])";
  EXPECT_EQ(Place(text), "v@CPU:1 w@CPU:0 c@CPU:1");
  EXPECT_THAT(Why("c"), HasSubstr("it uses the resource of 'v'"));
  Devices({"CPU:0", "/job:b/replica:0/task:0/device:CPU:0"});
  EXPECT_THAT(Place("v = TestHandle() @/job:a; w = TestHandle() @/job:b; c = StatefulPartitionedCall(v, w, f=@use, "
                    "Tout=[float])"),
              AllOf(HasSubstr("cannot place StatefulPartitionedCall 'c' on /job:a/replica:0/task:0/device:CPU:0: its "
                              "functions use the resource of TestHandle 'w', which is on /job:b"),
                    HasSubstr("read the value outside")));
}

TEST_F(PlacerTest, AFunctionFollowsTheVariableThatItDeclares) {
  prepare_ = AddFunctions;
  EXPECT_EQ(Place("c = StatefulPartitionedCall(f=@own, Tout=[float]) @/cpu:0"), "c@CPU:1");
  EXPECT_THAT(Why("c"), AllOf(HasSubstr("it calls a function that uses 'v' on '/cpu:1'"),
                              HasSubstr("it asked for '/cpu:0' itself")));
  EXPECT_EQ(Place("v = TestVar(); c = StatefulPartitionedCall(f=@own, Tout=[float])"), "v@CPU:1 c@CPU:1");
  EXPECT_THAT(Place("v = TestVar() @/cpu:0; c = StatefulPartitionedCall(f=@own, Tout=[float])"),
              AllOf(HasSubstr("TestVar 'v' asks for '/cpu:0'; StatefulPartitionedCall 'c' calls a function that uses "
                              "'v' on '/cpu:1'"),
                    HasSubstr("StatefulPartitionedCall 'c' calls a function that uses the variable 'v'")));
  PlacementHistory history;
  options_.history = &history;
  EXPECT_EQ(Place("c = StatefulPartitionedCall(f=@own, Tout=[float])"), "c@CPU:1");
  EXPECT_EQ(Place("v = TestVar()"), "v@CPU:1");
}

// --- Contradictions: each error names the smallest set and nobody else ---

TEST_F(PlacerTest, NamesTwoWishesAndWhatTiesThem) {
  const char* text =
      "x = Const(value=float[]{1}); v = TestVar() @/cpu:1; s = TestAssign(v, x); "
      "a = TestAdd(x, x, _class=['loc:@s']); b = TestAdd(x, x, _class=['loc:@a']) @/cpu:0; "
      "c = TestAdd(x, x, _class=['loc:@v']) @/job:a";
  EXPECT_EQ(Place(text),
            "cannot place nodes that must be on one device: TestVar 'v' asks for '/cpu:1'; TestAdd 'b' asks for "
            "'/cpu:0'. TestAssign 's' uses the reference of 'v'; TestAdd 'a' is colocated with 's'; TestAdd 'b' is "
            "colocated with 'a'. The devices are /job:a/replica:0/task:0/device:CPU:0, "
            "/job:a/replica:0/task:0/device:CPU:1, /job:a/replica:0/task:0/device:GPU:0; allow_soft_placement lets "
            "those that ask follow the others");
  EXPECT_EQ(PlaceSoftly(text), "x@CPU:1 v@CPU:1 s@CPU:1 a@CPU:1 b@CPU:1 c@CPU:1");
  EXPECT_THAT(Why("b"), HasSubstr("it asked for '/cpu:0' itself, which soft placement gave up"));
}

TEST_F(PlacerTest, TakesTheClosestOfSeveralThatContradict) {
  // Both b and c contradict v; c is tied to it directly.
  EXPECT_THAT(Place("x = Const(value=float[]{1}); v = TestVar() @/cpu:1; a = TestAdd(x, x, _class=['loc:@v']); "
                    "b = TestAdd(x, x, _class=['loc:@a']) @/cpu:0; c = TestAdd(x, x, _class=['loc:@v']) @/cpu:0"),
              AllOf(HasSubstr("TestVar 'v' asks for '/cpu:1'; TestAdd 'c' asks for '/cpu:0'. TestAdd 'c' is colocated "
                              "with 'v'."),
                    Not(HasSubstr("'a'")), Not(HasSubstr("'b'"))));
}

TEST_F(PlacerTest, NamesThreeWishesThatOnlyTogetherContradict) {
  Devices({"CPU:0", "/job:b/replica:0/task:0/device:CPU:1", "/job:b/replica:0/task:1/device:CPU:0",
           "/job:b/replica:0/task:1/device:CPU:1"});
  EXPECT_THAT(Place("x = Const(value=float[]{1}); a = TestAdd(x, x) @/job:b; b = TestAdd(x, x, _class=['loc:@a']) "
                    "@/task:0; c = TestAdd(x, x, _class=['loc:@a']) @/cpu:0; d = TestAdd(x, x, _class=['loc:@a'])"),
              AllOf(HasSubstr("TestAdd 'a' asks for '/job:b'; TestAdd 'b' asks for '/task:0'; TestAdd 'c' asks for "
                              "'/cpu:0'."),
                    Not(HasSubstr("'d'"))));
}

TEST_F(PlacerTest, NamesAWishAndTheKernelThatItExcludes) {
  const char* text =
      "x = Const(value=float[]{1}); v = TestVar() @/gpu:0; s = TestAssign(v, x); a = TestAdd(x, x, _class=['loc:@v'])";
  EXPECT_THAT(Place(text),
              AllOf(HasSubstr("TestVar 'v' asks for '/gpu:0'; TestAssign 's' has a kernel on CPU only. TestAssign 's' "
                              "uses the reference of 'v'."),
                    Not(HasSubstr("'a'"))));
  EXPECT_EQ(PlaceSoftly(text), "x@CPU:0 v@CPU:0 s@CPU:0 a@CPU:0");
  EXPECT_THAT(Why("v"), HasSubstr("'v' asks for '/gpu:0', which cannot be had, and placement is soft"));
}

TEST_F(PlacerTest, SoftPlacementKeepsTheTask) {
  Devices({"CPU:0", "/job:b/replica:0/task:0/device:CPU:0"});
  EXPECT_EQ(PlaceSoftly("x = Const(value=float[]{1}); a = TestAdd(x, x) @/job:b/gpu:0"),
            "x@/job:b/task:0/CPU:0 a@/job:b/task:0/CPU:0");
  EXPECT_THAT(PlaceSoftly("x = Const(value=float[]{1}); a = TestAdd(x, x) @/job:c/gpu:0"),
              HasSubstr("cannot place TestAdd 'a': it asks for '/job:c/gpu:0', but the devices are"));
}

TEST_F(PlacerTest, SaysWhichDevicesThereAre) {
  const char* text = "a = Const(value=float[1]{1}); b = TestAdd(a, a) @/gpu:3";
  EXPECT_THAT(Place(text), AllOf(HasSubstr("TestAdd 'b': it asks for '/gpu:3', but the devices are"),
                                 HasSubstr("device:CPU:0, /job:a")));
  Devices({"CPU:0"});
  EXPECT_EQ(PlaceSoftly(text), "a@CPU:0 b@CPU:0");
}

TEST_F(PlacerTest, SaysWhichKernelIsMissing) {
  const char* text = "a = Const(value=float[1]{1}); b = TestMix(a, N=1) @/gpu:0";
  EXPECT_THAT(Place(text),
              AllOf(HasSubstr("cannot place TestMix 'b'"), HasSubstr("no kernel on GPU"), HasSubstr("CPU: any types")));
  EXPECT_EQ(PlaceSoftly(text), "a@CPU:0 b@CPU:0");
  EXPECT_THAT(Place("a = TestNowhere()"), AllOf(HasSubstr("cannot place TestNowhere 'a'"), HasSubstr("kernel")));
}

TEST_F(PlacerTest, ADeviceStringThatCannotBeReadNamesTheNode) {
  EXPECT_THAT(Place("a = Const(value=float[1]{1}) @/what:ever"),
              AllOf(HasSubstr("cannot place Const 'a'"), HasSubstr("cannot read 'what:ever'")));
}

// --- By cost ---

TEST_F(PlacerTest, CostSpreadsIndependentWorkAndKeepsChainsTogether) {
  Devices({"CPU:0", "CPU:1"});
  options_.cost_aware = true;
  // Two chains of work over 4 MB from one source.
  EXPECT_EQ(Place("x = Placeholder(dtype=float, shape=[1000,1000]); a = TestAdd(x, x); b = TestMix(x, N=1); "
                  "a1 = TestAdd(a, a); b1 = TestMix(b, N=1); y = TestAdd(a1, b1)"),
            "x@CPU:0 a@CPU:0 b@CPU:1 a1@CPU:0 b1@CPU:1 y@CPU:0");
  EXPECT_THAT(Why("b"), HasSubstr("'b' would be done there after 800.5 us and on "
                                  "/job:a/replica:0/task:0/device:CPU:0, the next best, after"));
}

TEST_F(PlacerTest, CostKeepsWorkOnOneDeviceWhereCarryingItCostsMore) {
  Devices({"CPU:0", "/job:b/replica:0/task:0/device:CPU:0"});
  options_.cost_aware = true;
  EXPECT_EQ(Place("x = Placeholder(dtype=float, shape=[10]); a = TestAdd(x, x); b = TestMix(a, N=1); "
                  "c = TestMix(a, N=1); y = TestAdd(b, c)"),
            "x@CPU:0 a@CPU:0 b@CPU:0 c@CPU:0 y@CPU:0");
}

TEST_F(PlacerTest, CostUsesWhatWasMeasuredAndTheTopology) {
  Devices({"CPU:0", "GPU:0"});
  options_.cost_aware = true;
  const char* text = "x = Placeholder(dtype=float, shape=[1000,1000]) @/cpu:0; a = TestAdd(x, x); y = TestMix(a, N=1)";
  EXPECT_EQ(Place(text), "x@CPU:0 a@GPU:0 y@CPU:0") << "an estimate: the device is fast enough to be worth the bus";
  Topology slow;
  slow.Set(devices_[0].name, devices_[1].name, {1e6, 0.1});
  options_.topology = &slow;
  EXPECT_EQ(Place(text), "x@CPU:0 a@CPU:0 y@CPU:0");
  MeasuredCosts measured;
  measured.Record("a", kCpu, 1e12);
  measured.Record("a", kCuda, 10);
  const CostModel costs(&measured);
  options_.costs = &costs;
  EXPECT_EQ(Place(text), "x@CPU:0 a@GPU:0 y@CPU:0");
}

TEST_F(PlacerTest, CostNeverSeparatesAGroupNorMovesStateNorOverridesAWish) {
  Devices({"CPU:0", "CPU:1", "CPU:2"});
  options_.cost_aware = true;
  const std::string placed = Place(
      "x = Placeholder(dtype=float, shape=[1000,1000]); v = TestVar(); w = TestVar(); "
      "a = TestMix(x, N=1); b = TestMix(x, N=1, _class=['loc:@a']); c = TestMix(x, N=1) @/cpu:2; "
      "d = TestMix(x, N=1); e = TestMix(x, N=1, _class=['loc:@v'])");
  EXPECT_EQ(graph_->Find("a")->assigned_device(), graph_->Find("b")->assigned_device()) << placed;
  EXPECT_THAT(placed, AllOf(HasSubstr("v@CPU:0"), HasSubstr("w@CPU:0"), HasSubstr("c@CPU:2"), HasSubstr("e@CPU:0")));
  EXPECT_THAT(placed, HasSubstr("d@CPU:0")) << "the one device that nobody uses when d is ready";
}

TEST_F(PlacerTest, CostOfShapesBeyondAllNumbers) {
  Graph graph(&ops_);
  absl::Status parsed = ParseGraphText(
      "x = Placeholder(dtype=float, shape=[1099511627776,4194304]); "
      "z = Placeholder(dtype=float, shape=[1099511627776,1099511627776,1099511627776,0])",
      &graph);
  ASSERT_TRUE(parsed.ok()) << parsed;
  EXPECT_EQ(CostModel::OutputBytes(*graph.Find("x"), 0), 4000000000000000) << "no more than the model counts";
  EXPECT_EQ(CostModel::OutputBytes(*graph.Find("z"), 0), 0);
}

TEST(SmallestConflictTest, FindsTheSmallestSetAndTheFirstOfEquals) {
  auto find = [](const std::vector<std::string>& rows) {
    std::vector<std::vector<bool>> allowed;
    for (const std::string& row : rows) {
      allowed.emplace_back();
      for (char c : row) allowed.back().push_back(c == '1');
    }
    return SmallestConflict(allowed);
  };
  EXPECT_THAT(find({}), ElementsAre());
  EXPECT_THAT(find({"11", "10"}), ElementsAre());
  EXPECT_THAT(find({"110", "101", "011", "000"}), ElementsAre(3));
  EXPECT_THAT(find({"110", "101", "011"}), ElementsAre(0, 1, 2));
  EXPECT_THAT(find({"110", "101", "011", "011", "010"}), ElementsAre(1, 4));
  EXPECT_THAT(find({"1110", "1101", "1011", "0111", "1111"}), ElementsAre(0, 1, 2, 3)) << "more than three";
}

}  // namespace
}  // namespace sluice
