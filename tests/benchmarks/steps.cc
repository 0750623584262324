#include "tests/benchmarks/steps.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "compiler/pass/default_passes.h"
#include "core/graph/gradients.h"
#include "core/graph/text.h"
#include "core/testing/test_ops.h"
#include "kernels/all/all_kernels.h"
#include "ops/all/all_ops.h"

namespace sluice {
namespace {

[[noreturn]] void Die(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  std::abort();
}

void Must(const absl::Status& status) {
  if (!status.ok()) Die(status.ToString());
}

OpRegistry& Ops() {
  static OpRegistry* const ops = [] {
    auto* made = new OpRegistry;
    DefineAllOps(*made);
    DefineTestOps(*made);
    Must(made->Finish());
    return made;
  }();
  return *ops;
}

KernelRegistry& Kernels() {
  static KernelRegistry* const kernels = [] {
    auto* made = new KernelRegistry;
    AddAllKernelsCpu(*made);
    AddTestKernels(*made);
    return made;
  }();
  return *kernels;
}

using Lines = std::vector<std::string>;

constexpr int kNodes = 10000;

std::string Name(int i) { return absl::StrCat("n", i); }

Lines NullChain() {
  Lines lines = {"n0 = TestNull()"};
  for (int i = 1; i < kNodes; ++i) lines.push_back(absl::StrCat(Name(i), " = TestNull(^", Name(i - 1), ")"));
  return lines;
}

Lines NullLayers() {
  std::mt19937 random(1);
  Lines lines;
  for (int i = 0; i < kNodes; ++i) {
    std::string inputs;
    if (i >= 100) {
      const int layer = (i / 100 - 1) * 100;
      const int a = layer + static_cast<int>(random() % 100), b = layer + static_cast<int>(random() % 100);
      inputs = a == b ? absl::StrCat("^", Name(a)) : absl::StrCat("^", Name(a), ", ^", Name(b));
    }
    lines.push_back(absl::StrCat(Name(i), " = TestNull(", inputs, ")"));
  }
  return lines;
}

Lines NullIndependent() {
  Lines lines;
  for (int i = 0; i < kNodes; ++i) lines.push_back(absl::StrCat(Name(i), " = TestNull()"));
  return lines;
}

constexpr int kAdds = 1000;
constexpr int kChain = 50;  // products of a chain

// Sums up 512 times x in a tree, then adds x until there were kAdds additions. The last node is "y".
Lines Adds() {
  Lines lines = {"x = Placeholder(dtype=float, shape=[])"};
  std::vector<std::string> level(512, "x");
  int adds = 0;
  auto add = [&](const std::string& a, const std::string& b) {
    std::string name = ++adds == kAdds ? "y" : absl::StrCat("a", adds);
    lines.push_back(absl::StrCat(name, " = AddV2(", a, ", ", b, ")"));
    return name;
  };
  while (level.size() > 1) {
    std::vector<std::string> next;
    for (size_t i = 0; i < level.size(); i += 2) next.push_back(add(level[i], level[i + 1]));
    level = next;
  }
  for (std::string last = level[0]; adds < kAdds;) last = add(last, "x");
  return lines;
}

// --- Networks ---

struct Parameter {
  std::string name;
  std::vector<int64_t> dims;
};

struct Network {
  int batch;
  std::vector<int64_t> image;  // of one example
  int classes;
  std::vector<Parameter> parameters;
  std::string forward;  // from "x" and "NAME_value" of each parameter to "logits"
  bool adam = false;
};

Network Mlp(int batch, const std::vector<int64_t>& sizes) {
  Network n{batch, {sizes.front()}, static_cast<int>(sizes.back()), {}, ""};
  std::string h = "x";
  for (size_t i = 0; i + 1 < sizes.size(); ++i) {
    const bool last = i + 2 == sizes.size();
    n.parameters.push_back({absl::StrCat("w", i), {sizes[i], sizes[i + 1]}});
    n.parameters.push_back({absl::StrCat("b", i), {sizes[i + 1]}});
    absl::StrAppend(&n.forward, "mm", i, " = MatMul(", h, ", w", i, "_value); ", last ? "logits" : absl::StrCat("z", i),
                    " = BiasAdd(mm", i, ", b", i, "_value); ");
    if (!last) absl::StrAppend(&n.forward, "h", i, " = Relu(z", i, "); ");
    h = absl::StrCat("h", i);
  }
  return n;
}

Network Lenet() {
  Network n{32, {28, 28, 1}, 10, {}, ""};
  n.adam = true;
  n.parameters = {{"f0", {5, 5, 1, 32}}, {"c0", {32}},  {"f1", {5, 5, 32, 64}}, {"c1", {64}},
                  {"w0", {3136, 512}},   {"b0", {512}}, {"w1", {512, 10}},      {"b1", {10}}};
  std::string h = "x";
  for (int i = 0; i < 2; ++i) {
    absl::StrAppend(&n.forward, "v", i, " = Conv2D(", h, ", f", i, "_value, strides=[1,1,1,1], padding='SAME'); z", i,
                    " = BiasAdd(v", i, ", c", i, "_value); r", i, " = Relu(z", i, "); p", i, " = MaxPool(r", i,
                    ", ksize=[1,2,2,1], strides=[1,2,2,1], padding='SAME'); ");
    h = absl::StrCat("p", i);
  }
  absl::StrAppend(&n.forward,
                  "flat_shape = Const(value=int32[2]{32,3136}); flat = Reshape(p1, flat_shape); "
                  "m0 = MatMul(flat, w0_value); mb0 = BiasAdd(m0, b0_value); mr0 = Relu(mb0); "
                  "m1 = MatMul(mr0, w1_value); logits = BiasAdd(m1, b1_value); ");
  return n;
}

// Deterministic values of about the size that keeps a network's activations in bounds.
Tensor Values(const std::vector<int64_t>& dims, double scale, unsigned seed) {
  const Shape shape(dims);
  std::mt19937 random(seed);
  std::vector<float> values(static_cast<size_t>(shape.num_elements()));
  for (float& v : values) v = static_cast<float>(scale * (static_cast<double>(random()) / 2147483648.0 - 1.0));
  return Tensor::FromValues<float>(shape, values);
}

std::string DimsText(const std::vector<int64_t>& dims) { return absl::StrCat("[", absl::StrJoin(dims, ","), "]"); }

void Parse(const std::string& text, Graph* graph) { Must(ParseGraphText(text, graph)); }

}  // namespace

struct StepBuilder {
  StepBuilder(int threads) : step(new MeasuredStep) {
    options.own_pool = true;
    options.parallelism = threads;
    step->environment_.ops = &Ops();
    step->environment_.kernels = &Kernels();
    step->environment_.passes = DefaultPasses();
    step->graph_ = std::make_unique<Graph>(&Ops());
  }

  Graph* graph() { return step->graph_.get(); }

  void Launch() { step->session_ = std::make_unique<Session>(step->environment_, options, graph()); }

  void Finish() {
    if (step->session_ == nullptr) Launch();
    auto callable = step->session_->MakeCallable(spec);
    Must(callable.status());
    step->callable_ = *callable;
    for (int i = 0; i < 5; ++i) step->Run();
    if (!step->ResultIsRight()) Die("the step makes something else than it should");
  }

  void Nulls(const Lines& lines) {
    Parse(absl::StrJoin(lines, "\n"), graph());
    for (int i = 0; i < kNodes; ++i) spec.targets.push_back(Name(i));
    step->parts_ = kNodes;
    step->is_right_ = [](const std::vector<Tensor>&) { return true; };
  }

  void Sum() {
    options.optimise = false;
    Parse(absl::StrJoin(Adds(), "\n"), graph());
    spec.feeds = {"x:0"};
    spec.fetches = {"y:0"};
    step->feeds_ = {Tensor::FromValues<float>(Shape(std::vector<int64_t>{}), {1.0f})};
    step->parts_ = kAdds;
    step->is_right_ = [](const std::vector<Tensor>& y) { return y[0].data<float>()[0] == kAdds + 1; };
  }

  void TwoChains(int lanes, bool waits) {
    options.static_lanes = lanes;
    const std::vector<int64_t> dims = {64, 64};
    Lines lines;
    for (const char* name : {"x", "w0", "w1"}) {
      lines.push_back(absl::StrCat(name, " = Placeholder(dtype=float, shape=[64,64])"));
      spec.feeds.push_back(absl::StrCat(name, ":0"));
      step->feeds_.push_back(Values(dims, 0.2, static_cast<unsigned>(lines.size())));
    }
    for (int c = 0; c < 2; ++c) {
      for (int i = 0; i < kChain; ++i) {
        lines.push_back(absl::StrCat("c", c, "_", i, " = MatMul(",
                                     i == 0 ? std::string("x") : absl::StrCat("c", c, "_", i - 1), ", w", c, ")"));
      }
    }
    lines.push_back(absl::StrCat("y = AddV2(c0_", kChain - 1, ", c1_", kChain - 1, ")"));
    if (waits) {
      ReleaseTestBlocks();
      lines.push_back("waits = TestBlock(y)");
      spec.targets = {"waits"};
    }
    Parse(absl::StrJoin(lines, "\n"), graph());
    spec.fetches = {"y:0"};
    step->parts_ = 2 * kChain;
    step->is_right_ = [](const std::vector<Tensor>& y) { return std::isfinite(y[0].data<float>()[0]); };
  }

  void Feeds(int count) {
    Lines lines = {"one = Const(value=float[1]{1})"};
    std::vector<std::string> names;
    for (int i = 0; i < count; ++i) {
      names.push_back(absl::StrCat("x", i));
      lines.push_back(absl::StrCat("x", i, " = Placeholder(dtype=float, shape=[1])"));
      spec.feeds.push_back(absl::StrCat("x", i, ":0"));
      step->feeds_.push_back(Tensor::FromValues<float>(Shape({1}), {1.0f}));
    }
    lines.push_back(count == 1 ? "y = TestAdd(x0, one)"
                               : absl::StrCat("y = TestMix(", absl::StrJoin(names, ", "), ", N=", count, ")"));
    Parse(absl::StrJoin(lines, "\n"), graph());
    spec.fetches = {"y:0"};
    step->is_right_ = [](const std::vector<Tensor>& y) { return y[0].data<float>()[0] >= 2; };
  }

  void Train(const Network& n) {
    std::vector<int64_t> x_dims = {n.batch};
    x_dims.insert(x_dims.end(), n.image.begin(), n.image.end());
    std::string text = absl::StrCat("x = Placeholder(dtype=float, shape=", DimsText(x_dims),
                                    "); labels = Placeholder(dtype=int32, shape=[", n.batch, "]); ");
    std::vector<std::string> starts;
    auto variable = [&](const std::string& name, const std::vector<int64_t>& dims) {
      absl::StrAppend(&text, name, " = VarHandleOp(dtype=float, shape=", DimsText(dims), ", shared_name='", name,
                      "'); ", name, "_start = Placeholder(dtype=float, shape=", DimsText(dims), "); ", name,
                      "_init = AssignVariableOp(", name, ", ", name, "_start, dtype=float); ");
      starts.push_back(name);
    };
    for (const Parameter& p : n.parameters) {
      variable(p.name, p.dims);
      absl::StrAppend(&text, p.name, "_value = ReadVariableOp(", p.name, ", dtype=float); ");
      if (n.adam) {
        variable(p.name + "_m", p.dims);
        variable(p.name + "_v", p.dims);
      }
    }
    absl::StrAppend(
        &text, n.forward,
        "xent = SparseSoftmaxCrossEntropyWithLogits(logits, labels); axis = Const(value=int32[1]{0}); "
        "loss = Mean(xent, axis); rate = Const(value=float[]{",
        n.adam ? "0.001" : "0.1",
        "}); "
        "beta1 = Const(value=float[]{0.9}); beta2 = Const(value=float[]{0.999}); epsilon = Const(value=float[]{1e-8})");
    Parse(text, graph());
    std::vector<Endpoint> values;
    for (const Parameter& p : n.parameters) values.push_back({graph()->Find(p.name + "_value"), 0});
    auto gradients = AddGradients(graph(), {{graph()->Find("loss"), 0}}, values, {}, {});
    Must(gradients.status());
    Lines updates;
    std::vector<std::string> done;
    for (size_t i = 0; i < n.parameters.size(); ++i) {
      const std::string& name = n.parameters[i].name;
      const Endpoint g = (*gradients)[i].dense.endpoint();
      const std::string gradient = absl::StrCat(g.node->name(), ":", g.index);
      updates.push_back(n.adam ? absl::StrCat(name, "_update = ResourceApplyAdam(", name, ", ", name, "_m, ", name,
                                              "_v, beta1, beta2, rate, beta1, beta2, epsilon, ", gradient, ", T=float)")
                               : absl::StrCat(name, "_update = ResourceApplyGradientDescent(", name, ", rate, ",
                                              gradient, ", T=float)"));
      done.push_back(absl::StrCat("^", name, "_update"));
    }
    updates.push_back(absl::StrCat("train = NoOp(", absl::StrJoin(done, ", "), ")"));
    Parse(absl::StrJoin(updates, "\n"), graph());
    Launch();
    for (size_t i = 0; i < starts.size(); ++i) Initialise(n, starts[i], static_cast<unsigned>(i));
    spec.feeds = {"x:0", "labels:0"};
    spec.fetches = {"loss:0"};
    spec.targets = {"train"};
    std::vector<int32_t> labels(static_cast<size_t>(n.batch));
    for (int i = 0; i < n.batch; ++i) labels[static_cast<size_t>(i)] = i % n.classes;
    step->feeds_ = {Values(x_dims, 1.7, 99), Tensor::FromValues<int32_t>(Shape({n.batch}), labels)};
    step->is_right_ = [](const std::vector<Tensor>& loss) {
      const float found = loss[0].data<float>()[0];
      return std::isfinite(found) && found > 0 && found < 20;
    };
  }

  void Initialise(const Network& n, const std::string& name, unsigned seed) {
    for (const Parameter& p : n.parameters) {
      const bool is_slot = name == p.name + "_m" || name == p.name + "_v";
      if (name != p.name && !is_slot) continue;
      double fan_in = 1;
      for (size_t d = 0; d + 1 < p.dims.size(); ++d) fan_in *= static_cast<double>(p.dims[d]);
      const double scale = is_slot || p.dims.size() == 1 ? 0 : std::sqrt(6 / fan_in);
      Must(step->session_->Run({{name + "_start:0", Values(p.dims, scale, seed)}}, {}, {name + "_init"}).status());
      return;
    }
    Die("nothing is called " + name);
  }

  std::unique_ptr<MeasuredStep> step;
  SessionOptions options;
  CallableSpec spec;
};

std::unique_ptr<MeasuredStep> MeasuredStep::Make(const std::string& name, int threads) {
  StepBuilder b(threads);
  if (name == "null_chain") {
    b.Nulls(NullChain());
  } else if (name == "null_layers") {
    b.Nulls(NullLayers());
  } else if (name == "null_layers_dataflow") {
    ReleaseTestBlocks();
    Lines lines = NullLayers();
    lines.push_back("value = Const(value=float[]{1}); waits = TestBlock(value)");  // a kernel that may wait
    b.Nulls(lines);
    b.spec.targets.push_back("waits");
  } else if (name == "null_independent") {
    b.Nulls(NullIndependent());
  } else if (name == "adds") {
    b.Sum();
  } else if (name == "two_chains") {
    b.TwoChains(0, false);
  } else if (name == "two_chains_one_lane") {
    b.TwoChains(1, false);
  } else if (name == "two_chains_dataflow") {
    b.TwoChains(0, true);
  } else if (name == "feeds_1") {
    b.Feeds(1);
  } else if (name == "feeds_10") {
    b.Feeds(10);
  } else if (name == "feeds_100") {
    b.Feeds(100);
  } else if (name == "mlp") {
    b.Train(Mlp(64, {784, 256, 128, 10}));
  } else if (name == "small_mlp") {
    b.Train(Mlp(8, {16, 32, 4}));
  } else if (name == "lenet") {
    b.Train(Lenet());
  } else {
    Die("there is no step '" + name + "'");
  }
  b.Finish();
  return std::move(b.step);
}

void MeasuredStep::Run() {
  const absl::Status status = session_->RunCallable(*callable_, feeds_, &fetches_);
  if (ABSL_PREDICT_FALSE(!status.ok())) Die(status.ToString());
}

}  // namespace sluice
