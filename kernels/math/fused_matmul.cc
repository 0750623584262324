// _FusedMatMul: a product and the element-wise ops on it.
//
// The loops are those of the kernels that it replaces, over rows of a part of the product that has just been computed,
// in place; so results are theirs bit for bit.
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "core/base/status.h"
#include "kernels/common/gemm.h"
#include "kernels/common/type_dispatch.h"
#include "kernels/math/fused_member.h"
#include "kernels/math/matrix_sizes.h"
#include "kernels/math/topics.h"

namespace sluice {
namespace {

template <class T>
class FusedMatMulKernel final : public Kernel {
 public:
  explicit FusedMatMulKernel(const KernelRegistry* kernels) : kernels_(kernels) {}

  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(ta_, p.Attr<bool>("transpose_a"));
    ASSIGN_OR_RETURN(tb_, p.Attr<bool>("transpose_b"));
    if (const AttrValue* at = p.node().attrs.Find("_source"); at != nullptr && at->As<std::string>() != nullptr) {
      source_ = absl::StrCat(*at->As<std::string>(), ": ");
    }
    ASSIGN_OR_RETURN(program_, MakeFusedProgram(*kernels_, p, /*reductions=*/false));
    for (size_t i = 0; i < program_.instructions.size(); ++i) {
      const FusedInstruction& at = program_.instructions[i];
      const int chain = i == 0 ? 0 : program_.num_inputs + static_cast<int>(i) - 1;
      for (int value : {at.a, at.b}) {
        if (value >= 0 && value != chain && (value < 2 || value >= program_.num_inputs)) {
          return InvalidArgument("instruction ", i, " reads value ", value, ": wanted ", chain,
                                 " or an input from 2 to ", program_.num_inputs - 1);
        }
      }
    }
    for (DType t : program_.types) {
      if (BaseType(t) != kDTypeOf<T>) {
        return InvalidArgument("values are ", DTypeName(kDTypeOf<T>), ", found ", DTypeName(t));
      }
    }
    return absl::OkStatus();
  }

  absl::Status Run(KernelContext& c) const override {
    const Tensor &a = c.input(0), &b = c.input(1);
    const absl::StatusOr<MatrixSizes> sizes = MatMulSizes(a.shape(), b.shape(), ta_, tb_);
    if (!sizes.ok()) return Annotate(sizes.status(), source_);
    const MatrixSizes& s = *sizes;
    absl::InlinedVector<Operand, 16> operands(program_.num_inputs);
    for (int i = 2; i < program_.num_inputs; ++i) {
      const Tensor& t = c.input(i);
      operands[i].data = t.data<T>();
      const bool is_row = t.rank() >= 1 && t.rank() <= 2 && t.num_elements() == s.n && t.dim(t.rank() - 1) == s.n;
      if (t.num_elements() == 1 && t.rank() <= 2) {
        operands[i].step = 0;
      } else if (t.rank() == 2 && t.dim(0) == s.m && t.dim(1) == s.n) {
        operands[i].row_step = s.n;
      } else if (!is_row) {
        return InvalidArgument("input ", i, " has the shape ", t.shape().ToString(), " beside a product of [", s.m, ",",
                               s.n, "]");
      }
    }
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Shape({s.m, s.n})));
    T* y = out->data<T>();
    auto finish = [&](int64_t i, int64_t rows, int64_t j, int64_t columns) {
      for (int64_t r = i; r < i + rows; ++r) FinishRow(operands.data(), y + r * s.n + j, r, j, columns);
    };
    GemmWithEpilogue<T>(c.step().pool, ta_, tb_, s.m, s.n, s.k, a.data<T>(), a.dim(1), b.data<T>(), b.dim(1), y, s.n,
                        finish);
    return absl::OkStatus();
  }

 private:
  struct Operand {
    const T* data = nullptr;
    int64_t row_step = 0;  // from one row to the next
    int64_t step = 1;      // 0: one element
    const T* At(int64_t row, int64_t column) const { return data + row * row_step + column * step; }
  };

  void FinishRow(const Operand* operands, T* y, int64_t row, int64_t column, int64_t columns) const {
    for (const FusedInstruction& at : program_.instructions) {
      if (at.b < 0) {
        at.f.unary(at.f.bytes, y, y, columns);
        continue;
      }
      auto is_input = [&](int value) { return value >= 2 && value < program_.num_inputs; };
      const Operand product{y, 0, 1};
      const Operand& x = is_input(at.a) ? operands[at.a] : product;
      const Operand& z = is_input(at.b) ? operands[at.b] : product;
      at.f.binary(at.f.bytes, &x == &product ? y : x.At(row, column), x.step, &z == &product ? y : z.At(row, column),
                  z.step, y, columns);
    }
  }

  const KernelRegistry* kernels_;
  bool ta_ = false, tb_ = false;
  std::string source_;  // the product, in messages
  FusedProgram program_;
};

}  // namespace

void AddFusedMatMulKernels(KernelRegistry& k) {
  k.Add("_FusedMatMul", kCpu,
        KernelDef().Types("T", {DType::kFloat, DType::kDouble}).Factory([&k](const NodeInfo& node) {
          std::unique_ptr<Kernel> kernel;
          if (BaseType(node.output_types[0]) == DType::kFloat) {
            kernel = std::make_unique<FusedMatMulKernel<float>>(&k);
          } else {
            kernel = std::make_unique<FusedMatMulKernel<double>>(&k);
          }
          return kernel;
        }));
}

}  // namespace sluice
