#include "kernels/common/kernel_test.h"

#include <cstdio>

#include "absl/strings/str_join.h"
#include "core/base/status.h"

namespace sluice {
namespace {

class TestDevice : public Device {
 public:
  explicit TestDevice(ThreadPool* pool) : pool_(pool) {
    attributes_.name = "/job:test/replica:0/task:0/device:CPU:0";
    attributes_.type = "CPU";
    attributes_.incarnation = 1;
    name_.job = "test";
    name_.replica = 0;
    name_.task = 0;
    name_.type = "CPU";
    name_.index = 0;
  }
  const DeviceAttributes& attributes() const override { return attributes_; }
  const DeviceName& parsed_name() const override { return name_; }
  Allocator* allocator() override { return HostAllocator(); }
  ThreadPool* pool() override { return pool_; }
  bool IsHost() const override { return true; }
  void CopyToHost(const Tensor& from, std::function<void(absl::StatusOr<Tensor>)> done) override { done(from); }
  void CopyFromHost(const Tensor& from, std::function<void(absl::StatusOr<Tensor>)> done) override { done(from); }
  absl::Status Sync() override { return absl::OkStatus(); }

 private:
  ThreadPool* pool_;
  DeviceAttributes attributes_;
  DeviceName name_;
};

// References are made by giving a handle where the op wants a reference.
NodeSpec SourceOf(absl::string_view op, int index, bool is_static, const Tensor* value, DType dtype,
                  const PartialShape& shape) {
  NodeSpec spec;
  spec.op = std::string(op);
  spec.name = absl::StrCat("input", index);
  spec.attrs.Set("dtype", dtype);
  if (is_static) {
    spec.attrs.Set("value", *value);
  } else {
    spec.attrs.Set("shape", shape);
  }
  return spec;
}

}  // namespace

struct KernelTester::Impl {
  explicit Impl(int parallelism) : pool(parallelism), device(&pool) {}
  ThreadPool pool;
  TestDevice device;
  ResourceStore resources;
};

KernelTester::KernelTester(const std::function<void(OpRegistry&)>& define_ops,
                           const std::function<void(KernelRegistry&)>& add_kernels, int parallelism)
    : impl_(std::make_unique<Impl>(parallelism)) {
  define_ops(ops_);
  ops_.Define("_TestConst", "")
      .Output("output", "dtype")
      .Attr("value: tensor")
      .Attr("dtype: type")
      .Traits(kConstant)
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(Tensor t, c.Attr<Tensor>("value"));
        c.SetOutput(0, t.shape());
        return absl::OkStatus();
      });
  ops_.Define("_TestInput", "")
      .Output("output", "dtype")
      .Attr("dtype: type")
      .Attr("shape: shape")
      .Shape(FromAttr("shape"));
  absl::Status defined = ops_.Finish();
  if (!defined.ok()) std::fprintf(stderr, "%s\n", defined.ToString().c_str());
  SLUICE_CHECK(defined.ok());
  add_kernels(kernels_);
  absl::Status added = kernels_.Finish();
  if (!added.ok()) std::fprintf(stderr, "%s\n", added.ToString().c_str());
  SLUICE_CHECK(added.ok());
}

KernelTester::~KernelTester() = default;

ResourceStore& KernelTester::resources() { return impl_->resources; }

StepContext KernelTester::Step() {
  StepContext step;
  step.step_id = 1;
  step.device = &impl_->device;
  step.pool = &impl_->pool;
  step.resources = &impl_->resources;
  return step;
}

// A graph of one node, its kernel, and what a step gives it.
struct KernelTester::PreparedOp {
  explicit PreparedOp(const OpRegistry* ops) : graph(ops) {}
  absl::Status Run() {
    std::vector<Tensor*> in_ptrs, out_ptrs;
    in = constants;
    out.assign(node->num_outputs(), Tensor());
    for (Tensor& t : in) in_ptrs.push_back(&t);
    for (Tensor& t : out) out_ptrs.push_back(&t);
    KernelContext c;
    c.Bind(&step, &node->info(), in_ptrs.data(), static_cast<int>(in.size()), out_ptrs.data(),
           static_cast<int>(out.size()), nullptr, 0);
    return kernel->Run(c);
  }
  Graph graph;
  Node* node = nullptr;
  std::unique_ptr<Kernel> kernel;
  StepContext step;
  std::vector<Tensor> constants, in, out;
};

absl::StatusOr<std::unique_ptr<KernelTester::PreparedOp>> KernelTester::Prepare(absl::string_view op,
                                                                                const std::vector<Tensor>& inputs,
                                                                                const AttrMap& attrs, bool is_static) {
  auto p = std::make_unique<PreparedOp>(&ops_);
  NodeSpec spec;
  spec.op = std::string(op);
  spec.name = "node";
  spec.attrs = attrs;
  for (size_t i = 0; i < inputs.size(); ++i) {
    ASSIGN_OR_RETURN(Node * source,
                     p->graph.AddNode(SourceOf(is_static ? "_TestConst" : "_TestInput", static_cast<int>(i), is_static,
                                               &inputs[i], inputs[i].dtype(), PartialShape())));
    spec.inputs.push_back({source, 0});
  }
  ASSIGN_OR_RETURN(p->node, p->graph.AddNode(std::move(spec)));
  ASSIGN_OR_RETURN(p->kernel, kernels_.MakeKernel(p->node->info(), kCpu));
  p->constants = inputs;

  PrepareContext prepare;
  prepare.info = &p->node->info();
  prepare.device = &impl_->device;
  prepare.resources = &impl_->resources;
  for (int i = 0; i < p->node->num_inputs(); ++i) {
    prepare.input_shapes.push_back(p->node->input(i).node->output_shape(0));
    prepare.constant_inputs.push_back(is_static ? &p->constants[i] : nullptr);
  }
  for (int i = 0; i < p->node->num_outputs(); ++i) prepare.output_shapes.push_back(p->node->output_shape(i));
  RETURN_IF_ERROR(p->kernel->Prepare(prepare));
  p->step = Step();
  return p;
}

absl::StatusOr<std::function<absl::Status()>> KernelTester::Prepared(absl::string_view op, std::vector<Tensor> inputs,
                                                                     AttrMap attrs) {
  ASSIGN_OR_RETURN(std::unique_ptr<PreparedOp> prepared, Prepare(op, inputs, attrs, /*is_static=*/true));
  std::shared_ptr<PreparedOp> shared = std::move(prepared);
  return std::function<absl::Status()>([shared] { return shared->Run(); });
}

absl::StatusOr<std::vector<Tensor>> KernelTester::RunPrepared(absl::string_view op, const std::vector<Tensor>& inputs,
                                                              const AttrMap& attrs, bool is_static) {
  ASSIGN_OR_RETURN(std::unique_ptr<PreparedOp> prepared, Prepare(op, inputs, attrs, is_static));
  Node* node = prepared->node;
  RETURN_IF_ERROR(prepared->Run());
  std::vector<Tensor> out = std::move(prepared->out);
  for (int i = 0; i < node->num_outputs(); ++i) {
    const PartialShape& inferred = node->output_shape(i);
    if (BaseType(node->output_type(i)) != out[i].dtype()) {
      return Internal(op, ": output ", i, " is ", DTypeName(out[i].dtype()), ", the node says ",
                      DTypeName(node->output_type(i)));
    }
    if (!inferred.IsCompatibleWith(out[i].shape())) {
      return Internal(op, ": output ", i, " has shape ", out[i].shape().ToString(), ", inferred was ",
                      inferred.ToString());
    }
    const PartialValue* value = node->output_value(i);
    for (size_t k = 0; value != nullptr && k < value->elements.size(); ++k) {
      if (value->elements[k] != PartialValue::kUnknown && value->elements[k] != out[i].IntAt(static_cast<int64_t>(k))) {
        return Internal(op, ": element ", k, " of output ", i, " is ", out[i].IntAt(static_cast<int64_t>(k)),
                        ", inferred was ", value->elements[k]);
      }
    }
  }
  return out;
}

absl::StatusOr<std::vector<Tensor>> KernelTester::RunOp(absl::string_view op, std::vector<Tensor> inputs,
                                                        AttrMap attrs) {
  absl::StatusOr<std::vector<Tensor>> first = RunPrepared(op, inputs, attrs, /*is_static=*/true);
  const OpDef* def = ops_.Find(op);
  if (def == nullptr || (def->traits & (kStateful | kWritesState | kReadsState)) != 0) return first;
  absl::StatusOr<std::vector<Tensor>> second = RunPrepared(op, inputs, attrs, /*is_static=*/false);
  if (!first.ok()) {
    if (second.ok())
      return Internal(op, " is refused when shapes and values are known and not otherwise: ", first.status().message());
    return first;
  }
  if (!second.ok()) return second;
  for (size_t i = 0; i < first->size(); ++i) {
    if (!IdenticalTensors((*first)[i], (*second)[i])) {
      return Internal(op, ": output ", i, " depends on what is known when it is prepared: ", (*first)[i].ToString(),
                      " or ", (*second)[i].ToString());
    }
  }
  return first;
}

Tensor KernelTester::Get(absl::string_view op, std::vector<Tensor> inputs, AttrMap attrs) {
  absl::StatusOr<std::vector<Tensor>> r = RunOp(op, std::move(inputs), std::move(attrs));
  if (!r.ok()) std::fprintf(stderr, "%s: %s\n", std::string(op).c_str(), r.status().ToString().c_str());
  SLUICE_CHECK(r.ok());
  return (*r)[0];
}

std::string KernelTester::Text(absl::string_view op, std::vector<Tensor> inputs, AttrMap attrs) {
  absl::StatusOr<std::vector<Tensor>> r = RunOp(op, std::move(inputs), std::move(attrs));
  return r.ok() ? (*r)[0].ToString(64) : r.status().ToString();
}

std::string KernelTester::Shapes(absl::string_view op, std::vector<std::string> input_shapes,
                                 std::vector<DType> input_types, AttrMap attrs) {
  Graph graph(&ops_);
  NodeSpec spec;
  spec.op = std::string(op);
  spec.name = "node";
  spec.attrs = std::move(attrs);
  for (size_t i = 0; i < input_shapes.size(); ++i) {
    absl::StatusOr<PartialShape> shape = PartialShape::Parse(input_shapes[i]);
    SLUICE_CHECK(shape.ok());
    absl::StatusOr<Node*> source =
        graph.AddNode(SourceOf("_TestInput", static_cast<int>(i), false, nullptr, input_types[i], *shape));
    SLUICE_CHECK(source.ok());
    spec.inputs.push_back({*source, 0});
  }
  absl::StatusOr<Node*> node = graph.AddNode(std::move(spec));
  if (!node.ok()) return node.status().ToString();
  std::vector<std::string> texts;
  for (int i = 0; i < (*node)->num_outputs(); ++i) texts.push_back((*node)->output_shape(i).ToString());
  return absl::StrJoin(texts, "; ");
}

}  // namespace sluice
