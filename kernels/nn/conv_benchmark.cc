// The kernels of a small image network (28x28 digits, batch 32) and of a residual block, each by itself on two threads.
// items/s are floating-point operations for convolutions and elements for the rest.
#include <functional>

#include "benchmark/benchmark.h"
#include "core/kernel/variable.h"
#include "core/op/window.h"
#include "kernels/common/kernel_test.h"
#include "kernels/nn/conv_direct.h"
#include "kernels/nn/conv_dnnl.h"
#include "kernels/nn/conv_winograd.h"
#include "kernels/nn/nn_kernels.h"
#include "ops/nn/nn_ops.h"

namespace sluice {
namespace {

using Ints = std::vector<int64_t>;

KernelTester& Tester() {
  static KernelTester* const tester = new KernelTester(DefineNnOps, AddNnKernelsCpu, 2);
  return *tester;
}

Tensor Filled(const Ints& dims) {
  Tensor t = Tensor::Make(DType::kFloat, Shape(dims)).value();
  for (int64_t i = 0; i < t.num_elements(); ++i) t.data<float>()[i] = static_cast<float>(i * 7919 % 1009) / 1009 - 0.5f;
  return t;
}
Tensor Sizes(const Ints& dims) {
  std::vector<int32_t> sizes(dims.begin(), dims.end());
  return Tensor::Vector<int32_t>(sizes);
}

void RunOp(benchmark::State& state, absl::string_view op, std::vector<Tensor> inputs, AttrMap attrs, double items) {
  auto run = Tester().Prepared(op, std::move(inputs), std::move(attrs));
  if (!run.ok()) return state.SkipWithError(run.status().ToString().c_str());
  for (auto _ : state) {
    const absl::Status status = (*run)();
    if (!status.ok()) return state.SkipWithError(status.ToString().c_str());
  }
  state.SetItemsProcessed(static_cast<int64_t>(items * state.iterations()));
}

// Arguments: batch, height and width, input channels, output channels, filter size, stride, direction.
void Conv(benchmark::State& state) {
  const int64_t n = state.range(0), h = state.range(1), ci = state.range(2), co = state.range(3), k = state.range(4);
  const int64_t s = state.range(5), o = (h + s - 1) / s;
  const AttrMap attrs = {{"strides", Ints{1, s, s, 1}}, {"padding", "SAME"}};
  const Ints in = {n, h, h, ci}, filter = {k, k, ci, co}, out = {n, o, o, co};
  const double flops = 2.0 * n * o * o * co * k * k * ci;
  if (state.range(6) == 0) return RunOp(state, "Conv2D", {Filled(in), Filled(filter)}, attrs, flops);
  if (state.range(6) == 1)
    return RunOp(state, "Conv2DBackpropInput", {Sizes(in), Filled(filter), Filled(out)}, attrs, flops);
  RunOp(state, "Conv2DBackpropFilter", {Filled(in), Sizes(filter), Filled(out)}, attrs, flops);
}
BENCHMARK(Conv)
    ->ArgNames({"n", "hw", "ci", "co", "k", "s", "dir"})
    ->Args({32, 28, 1, 32, 5, 1, 0})
    ->Args({32, 28, 1, 32, 5, 1, 2})
    ->Args({32, 14, 32, 64, 5, 1, 0})
    ->Args({32, 14, 32, 64, 5, 1, 1})
    ->Args({32, 14, 32, 64, 5, 1, 2})
    ->Args({8, 56, 64, 64, 3, 1, 0})
    ->Args({8, 56, 64, 64, 3, 1, 1})
    ->Args({8, 56, 64, 64, 3, 1, 2})
    ->Args({1, 56, 64, 64, 3, 1, 0})
    ->Args({1, 56, 256, 64, 1, 1, 0})
    ->Args({1, 224, 3, 64, 7, 2, 0})
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

// The same by one algorithm: the last argument is 0 for the direct loops, 1 for oneDNN, 2 for Winograd.
void ConvBy(benchmark::State& state) {
  const ConvDirection direction = static_cast<ConvDirection>(state.range(6));
  const int64_t h = state.range(1), k = state.range(4), stride = state.range(5);
  const AttrMap attrs = {{"strides", Ints{1, stride, stride, 1}}, {"padding", "SAME"}};
  ConvShape s;
  s.batch = state.range(0);
  s.in_channels = state.range(2);
  s.out_channels = state.range(3);
  s.axes[0].input = s.axes[0].output = 1;
  for (int i = 0; i < 2; ++i) s.axes[i + 1] = ParseWindowAttrs(attrs, 2)->Axis(i, h, k).value();
  const Tensor in = Filled({s.input_elements()}), filter = Filled({s.filter_elements()}),
               out = Filled({s.output_elements()});
  const bool to_input = direction == ConvDirection::kBackwardInput,
             to_filter = direction == ConvDirection::kBackwardFilter;
  const Tensor &a = to_input ? out : in, &b = to_filter ? out : filter;
  Tensor result = (to_input ? in : to_filter ? filter : out).Clone().value();
  const auto conv = state.range(7) == 0   ? MakeDirectConv(s, direction)
                    : state.range(7) == 1 ? MakeDnnlConv(s, direction, 2)
                                          : MakeWinogradConv(s, direction);
  if (conv == nullptr) return state.SkipWithError("not there");
  const StepContext step = Tester().Step();
  KernelContext c;
  c.Bind(&step, nullptr, nullptr, 0, nullptr, 0, nullptr, 0);
  for (auto _ : state) {
    const absl::Status status = conv->Run(c, a.data<float>(), b.data<float>(), result.data<float>());
    if (!status.ok()) return state.SkipWithError(status.ToString().c_str());
  }
  state.SetItemsProcessed(static_cast<int64_t>(s.flops() * state.iterations()));
}
void ConvByArguments(benchmark::internal::Benchmark* b) {
  b->ArgNames({"n", "hw", "ci", "co", "k", "s", "dir", "by"});
  const Ints layers[] = {{32, 28, 1, 32, 5, 1},  {32, 14, 32, 64, 5, 1},  {8, 56, 64, 64, 3, 1},
                         {1, 56, 64, 64, 3, 1},  {8, 28, 128, 128, 3, 1}, {8, 14, 256, 256, 3, 1},
                         {8, 7, 512, 512, 3, 1}, {1, 56, 256, 64, 1, 1},  {1, 224, 3, 64, 7, 2},
                         {8, 56, 64, 128, 3, 2}};
  for (const Ints& layer : layers) {
    for (int64_t direction = 0; direction < 3; ++direction) {
      for (int64_t by = 0; by < 3; ++by) {
        Ints args = layer;
        args.insert(args.end(), {direction, by});
        b->Args(args);
      }
    }
  }
}
BENCHMARK(ConvBy)->Apply(ConvByArguments)->MeasureProcessCPUTime()->UseRealTime()->Unit(benchmark::kMicrosecond);

void MaxPool(benchmark::State& state) {
  const int64_t h = state.range(0), c = state.range(1);
  const AttrMap attrs = {{"ksize", Ints{1, 2, 2, 1}}, {"strides", Ints{1, 2, 2, 1}}, {"padding", "SAME"}};
  const Tensor x = Filled({32, h, h, c});
  if (state.range(2) == 0) return RunOp(state, "MaxPool", {x}, attrs, x.num_elements());
  const Tensor y = Tester().Get("MaxPool", {x}, attrs);
  RunOp(state, "MaxPoolGrad", {x, y, y}, attrs, x.num_elements());
}
BENCHMARK(MaxPool)
    ->ArgNames({"hw", "c", "grad"})
    ->Args({28, 32, 0})
    ->Args({28, 32, 1})
    ->Args({14, 64, 0})
    ->Args({14, 64, 1})
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

void BiasAndRelu(benchmark::State& state) {
  const Tensor x = Filled({32, 28, 28, 32}), b = Filled({32});
  const char* const ops[] = {"BiasAdd", "BiasAddGrad", "Relu", "ReluGrad"};
  const std::vector<Tensor> inputs[] = {{x, b}, {x}, {x}, {x, x}};
  RunOp(state, ops[state.range(0)], inputs[state.range(0)], {}, x.num_elements());
}
BENCHMARK(BiasAndRelu)->DenseRange(0, 3)->MeasureProcessCPUTime()->UseRealTime()->Unit(benchmark::kMicrosecond);

void BatchNorm(benchmark::State& state) {
  const Tensor x = Filled({32, 28, 28, 32}), v = Filled({32});
  Tensor var = Filled({32});
  for (float& f : var.flat<float>()) f = 1;
  if (state.range(0) == 0) return RunOp(state, "FusedBatchNormV3", {x, v, v, v, v}, {}, x.num_elements());
  RunOp(state, "FusedBatchNormGradV3", {x, x, v, v, var, v}, {}, x.num_elements());
}
BENCHMARK(BatchNorm)->DenseRange(0, 1)->MeasureProcessCPUTime()->UseRealTime()->Unit(benchmark::kMicrosecond);

void Softmax(benchmark::State& state) {
  const Tensor x = Filled({state.range(0), state.range(1)});
  RunOp(state, "Softmax", {x}, {}, x.num_elements());
}
BENCHMARK(Softmax)
    ->Args({512, 512})
    ->Args({32, 32000})
    ->Args({32, 10})
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

void SparseCrossEntropy(benchmark::State& state) {
  const Tensor x = Filled({state.range(0), state.range(1)});
  RunOp(state, "SparseSoftmaxCrossEntropyWithLogits",
        {x, Tensor::Vector<int64_t>(std::vector<int64_t>(state.range(0), 3))}, {}, x.num_elements());
}
BENCHMARK(SparseCrossEntropy)
    ->Args({32, 10})
    ->Args({64, 32000})
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

Tensor MakeVariable(const Tensor& value) {
  auto v = MakeRef<Variable>("v", DType::kFloat, PartialShape(value.shape()));
  if (!v->Assign(value.Clone().value()).ok()) std::abort();
  ResourceHandle handle;
  handle.resource = v;
  return Tensor::Scalar(std::move(handle));
}

void Adam(benchmark::State& state) {
  Tensor g = Filled({state.range(0)}), positive = Filled({state.range(0)});
  for (float& f : positive.flat<float>()) f = f * f;
  auto s = [](float v) { return Tensor::Scalar<float>(v); };
  RunOp(state, "ResourceApplyAdam",
        {MakeVariable(g), MakeVariable(g), MakeVariable(positive), s(0.9f), s(0.999f), s(1e-3f), s(0.9f), s(0.999f),
         s(1e-8f), g},
        {}, state.range(0));
}
BENCHMARK(Adam)->Arg(1000)->Arg(1610000)->MeasureProcessCPUTime()->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace sluice
