// Nodes of every op of ops/math and ops/random with inputs that nobody would write: each ends in a result or in an
// error that says so, the same with known and with unknown shapes. Run it with --config=asan to see reads out of
// bounds.
#include <random>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "kernels/common/kernel_test.h"
#include "kernels/math/math_kernels.h"
#include "kernels/random/random_kernels.h"
#include "ops/math/math_ops.h"
#include "ops/random/random_ops.h"

namespace sluice {
namespace {

using Rng = std::mt19937;

template <typename T>
const T& Pick(Rng& rng, const std::vector<T>& from) {
  return from[rng() % from.size()];
}

DType PickType(Rng& rng, DTypeSet allowed) {
  std::vector<DType> types;
  for (int i = 1; i < kNumDTypes; ++i) {
    const DType t = static_cast<DType>(i);
    if (IsPlain(t) && (allowed.empty() || allowed.Has(t))) types.push_back(t);
  }
  return types.empty() ? DType::kString : Pick(rng, types);
}

Tensor MakeInput(Rng& rng, KernelTester& tools, DType dtype, const Shape& shape) {
  if (dtype == DType::kString) {
    Tensor t = *Tensor::Make(dtype, shape);
    for (std::string& s : t.flat<std::string>()) s = "x";
    return t;
  }
  std::vector<double> v(shape.num_elements());
  const std::vector<double> values = {0, 0, 1, 1, 2, 3, -1, -2, 5, 100, 0.5, -1e30, 1e300, std::nan(""), HUGE_VAL};
  const size_t tame = rng() % 3 == 0 ? values.size() : 8;
  for (double& x : v) x = values[rng() % tame];
  if (IsInteger(dtype) || dtype == DType::kBool) {
    for (double& x : v) x = std::abs(x) < 1e3 ? x : -2147483648.0;
  }
  Tensor wide = Tensor::FromValues<double>(shape, v);
  const DType via = (kArithmeticTypes | DTypeSet{DType::kBool}).Has(dtype) ? dtype : DType::kInt8;
  Tensor cast = dtype == DType::kDouble ? wide : tools.Get("Cast", {wide}, {{"DstT", via}});
  if (via == dtype) return cast;
  Tensor raw = *Tensor::Make(dtype, shape);  // quantized: any bytes will do
  std::memset(raw.raw_data(), static_cast<int>(rng() & 0x7f), raw.num_bytes());
  return raw;
}

TEST(HostileInputsTest, EveryOpEndsInAResultOrAnError) {
  KernelTester t(
      [](OpRegistry& ops) {
        DefineMathOps(ops);
        DefineRandomOps(ops);
      },
      [](KernelRegistry& k) {
        AddMathKernelsCpu(k);
        AddRandomKernelsCpu(k);
      });
  const std::vector<Shape> shapes = {Shape(),          Shape({0}),    Shape({1}),         Shape({2}),
                                     Shape({3}),       Shape({3}),    Shape({2, 3}),      Shape({3, 3}),
                                     Shape({3, 2}),    Shape({0, 3}), Shape({3, 0}),      Shape({2, 1, 3}),
                                     Shape({2, 3, 3}), Shape({1, 1}), Shape({2, 2, 2, 2})};
  Rng rng(7);
  int results = 0, errors = 0;
  for (const OpDef* op : t.ops().List()) {
    if (op->name[0] == '_') continue;
    for (int turn = 0; turn < 150; ++turn) {
      AttrMap attrs;
      for (const AttrDef& a : op->attrs) {
        if (a.type == "type") attrs.Set(a.name, PickType(rng, a.allowed_types));
        if (a.type == "bool") attrs.Set(a.name, rng() % 2 == 0);
        if (a.type == "int" && a.name != "N") attrs.Set(a.name, static_cast<int64_t>(rng() % 5));
        if (a.type == "list(float)") attrs.Set(a.name, std::vector<float>{0, 1, static_cast<float>(rng() % 3)});
        if (a.type == "shape") attrs.Set(a.name, Pick(rng, shapes));
      }
      std::vector<Tensor> inputs;
      const Shape common = Pick(rng, shapes);
      for (const ArgDef& arg : op->inputs) {
        const DType dtype = arg.type != DType::kInvalid              ? arg.type
                            : attrs.Find(arg.type_attr)->As<DType>() ? *attrs.Find(arg.type_attr)->As<DType>()
                                                                     : DType::kFloat;
        const int n = arg.number_attr.empty() ? 1 : 1 + static_cast<int>(rng() % 3);
        if (!arg.number_attr.empty()) attrs.Set(arg.number_attr, static_cast<int64_t>(n));
        for (int i = 0; i < n; ++i) inputs.push_back(MakeInput(rng, t, dtype, rng() % 2 ? common : Pick(rng, shapes)));
      }
      std::string what = op->name;
      for (const Tensor& x : inputs) what += " " + x.ToString();
      absl::StatusOr<std::vector<Tensor>> r = t.RunOp(op->name, inputs, attrs);
      (r.ok() ? results : errors) += 1;
      // INTERNAL is what the tester says when two preparations disagree. A shape rule may be stricter than its kernel,
      // which takes a vector of one element for a scalar as TensorFlow's do.
      if (r.ok() || absl::StrContains(r.status().message(), "is refused when shapes and values are known")) continue;
      EXPECT_NE(r.status().code(), absl::StatusCode::kInternal) << what << "\n" << r.status();
    }
  }
  EXPECT_GT(results, 2000);
  EXPECT_GT(errors, 2000);
}

}  // namespace
}  // namespace sluice
