#include "runtime/placer/placer.h"

#include "core/base/status.h"
#include "core/graph/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A device that only has a name.
class NamedDevice final : public Device {
 public:
  explicit NamedDevice(std::string name) : name_(*DeviceName::Parse(name)) {
    attributes_.name = std::move(name);
    attributes_.type = *name_.type;
  }
  const DeviceAttributes& attributes() const override { return attributes_; }
  const DeviceName& parsed_name() const override { return name_; }
  Allocator* allocator() override { return HostAllocator(); }
  ThreadPool* pool() override { return nullptr; }
  bool IsHost() const override { return attributes_.type == "CPU"; }
  void CopyToHost(const Tensor& from, std::function<void(absl::StatusOr<Tensor>)> done) override { done(from); }
  void CopyFromHost(const Tensor& from, std::function<void(absl::StatusOr<Tensor>)> done) override { done(from); }
  absl::Status Sync() override { return absl::OkStatus(); }

 private:
  DeviceName name_;
  DeviceAttributes attributes_;
};

class NothingKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext&) const override { return absl::OkStatus(); }
};

class PlacerTest : public ::testing::Test {
 protected:
  PlacerTest() {
    ops_.Define("In", "").Output("y", "float").Shape(UnknownShape());
    ops_.Define("Var", "").Output("ref", "Ref(float)").Traits(kStateful).Shape(UnknownShape());
    ops_.Define("Set", "").Input("ref", "Ref(float)").Input("x", "float").Shape(NoOutputs());
    ops_.Define("Neg", "").Input("x", "float").Output("y", "float").Shape(UnknownShape());
    ops_.Define("Id", "").Input("x", "float").Output("y", "float").Traits(kMayAlias).Shape(UnknownShape());
    ops_.Define("HostWork", "").Input("x", "float").Output("y", "float").Traits(kHostOnly).Shape(UnknownShape());
    ops_.Define("Unheard", "").Output("y", "float").Shape(UnknownShape());
    EXPECT_EQ(ops_.Finish(), absl::OkStatus());
    for (const char* op : {"In", "Var", "Set", "Neg", "Id", "HostWork"}) kernels_.Add(op, kCpu, KernelDef().Make<NothingKernel>());
    for (const char* op : {"Neg", "Id", "HostWork"}) kernels_.Add(op, kCuda, KernelDef().Make<NothingKernel>());
    for (const char* name : {"/job:a/replica:0/task:0/device:CPU:0", "/job:a/replica:0/task:0/device:CPU:1",
                             "/job:a/replica:0/task:0/device:GPU:0"}) {
      owned_.push_back(std::make_unique<NamedDevice>(name));
      devices_.push_back(owned_.back().get());
    }
  }

  // "x=CPU:0 y=GPU:0", or the error.
  std::string Place(absl::string_view text, PlacerOptions options = {}) {
    Graph graph(&ops_);
    absl::Status parsed = ParseGraphText(text, &graph);
    if (!parsed.ok()) return std::string(parsed.message());
    auto lines = PlaceGraph(&graph, devices_, kernels_, options);
    if (!lines.ok()) return std::string(lines.status().message());
    std::string out;
    for (Node* n : graph.nodes()) {
      absl::StrAppend(&out, out.empty() ? "" : " ", n->name(), "=",
                      n->assigned_device().substr(n->assigned_device().find("device:") + 7));
    }
    why_ = *lines;
    return out;
  }

  OpRegistry ops_;
  KernelRegistry kernels_;
  std::vector<std::unique_ptr<Device>> owned_;
  std::vector<Device*> devices_;
  std::vector<std::string> why_;
};

TEST_F(PlacerTest, AcceleratorsComeFirstWhereTheyHaveKernels) {
  EXPECT_EQ(Place("x = In(); y = Neg(x); z = HostWork(y)"), "x=CPU:0 y=GPU:0 z=CPU:0");
}

TEST_F(PlacerTest, RequestsAreObeyed) {
  EXPECT_EQ(Place("x = In() @/cpu:1; y = Neg(x) @/device:CPU:0"), "x=CPU:1 y=CPU:0");
  EXPECT_THAT(why_[0], HasSubstr("'/cpu:1' was asked for"));
}

TEST_F(PlacerTest, UsersOfAReferenceStayWithIt) {
  EXPECT_EQ(Place("v = Var() @/cpu:1; x = In(); s = Set(v, x)"), "v=CPU:1 x=CPU:0 s=CPU:1");
}

TEST_F(PlacerTest, ColocationTiesNodesTogether) {
  EXPECT_EQ(Place("x = In() @/cpu:1; y = Neg(x, _class=['loc:@x'])"), "x=CPU:1 y=CPU:1");
}

TEST_F(PlacerTest, PassThroughNodesStayWithTheirProducer) { EXPECT_EQ(Place("x = In() @/cpu:1; y = Id(x)"), "x=CPU:1 y=CPU:1"); }

TEST_F(PlacerTest, ConflictsNameBothSides) {
  EXPECT_THAT(Place("v = Var() @/cpu:0; x = In(); s = Set(v, x) @/cpu:1"),
              AllOf(HasSubstr("Set 's'"), HasSubstr("/cpu:1"), HasSubstr("Var 'v'"), HasSubstr("/cpu:0")));
  EXPECT_EQ(Place("v = Var() @/cpu:0; x = In(); s = Set(v, x) @/cpu:1", {/*soft_placement=*/true}), "v=CPU:0 x=CPU:0 s=CPU:0");
}

TEST_F(PlacerTest, MissingDevicesAndKernelsAreExplained) {
  EXPECT_THAT(Place("x = In() @/cpu:7"), AllOf(HasSubstr("does not exist"), HasSubstr("CPU:1"), HasSubstr("soft_placement")));
  EXPECT_THAT(Place("x = In() @/gpu:0"), AllOf(HasSubstr("no kernel"), HasSubstr("CPU:0")));
  EXPECT_THAT(Place("x = Unheard()"), AllOf(HasSubstr("Unheard 'x'"), HasSubstr("no device can run it")));
  EXPECT_EQ(Place("x = In() @/gpu:0", {/*soft_placement=*/true}), "x=CPU:0");
  EXPECT_EQ(Place("x = In() @/cpu:7", {/*soft_placement=*/true}), "x=CPU:0");
}

}  // namespace
}  // namespace sluice
