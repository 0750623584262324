// Products of matrices by kernels/common/gemm.h.
#include "core/base/status.h"
#include "kernels/common/broadcast.h"
#include "kernels/common/gemm.h"
#include "kernels/common/type_dispatch.h"
#include "kernels/math/matrix_sizes.h"
#include "kernels/math/scalar.h"
#include "kernels/math/topics.h"

namespace sluice {
namespace {

constexpr DTypeSet kMatMulTypes = {DType::kBfloat16, DType::kHalf,  DType::kFloat,     DType::kDouble,
                                   DType::kInt32,    DType::kInt64, DType::kComplex64, DType::kComplex128};

template <class T>
class MatMulKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(ta_, p.Attr<bool>("transpose_a"));
    ASSIGN_OR_RETURN(tb_, p.Attr<bool>("transpose_b"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor &a = c.input(0), &b = c.input(1);
    ASSIGN_OR_RETURN(const MatrixSizes s, MatMulSizes(a.shape(), b.shape(), ta_, tb_));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Shape({s.m, s.n})));
    Gemm<T>(c.step().pool, ta_, tb_, s.m, s.n, s.k, a.data<T>(), a.dim(1), b.data<T>(), b.dim(1), out->data<T>(), s.n);
    return absl::OkStatus();
  }

 private:
  bool ta_ = false, tb_ = false;
};

absl::StatusOr<Tensor> AsFloat(const Tensor& x) {
  if (x.dtype() == DType::kFloat) return x;
  ASSIGN_OR_RETURN(Tensor y, Tensor::Make(DType::kFloat, x.shape()));
  for (int64_t i = 0; i < x.num_elements(); ++i) y.data<float>()[i] = static_cast<float>(x.data<bfloat16>()[i]);
  return y;
}

class SparseMatMulKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(ta_, p.Attr<bool>("transpose_a"));
    ASSIGN_OR_RETURN(tb_, p.Attr<bool>("transpose_b"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(Tensor a, AsFloat(c.input(0)));
    ASSIGN_OR_RETURN(Tensor b, AsFloat(c.input(1)));
    ASSIGN_OR_RETURN(const MatrixSizes s, MatMulSizes(a.shape(), b.shape(), ta_, tb_));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Shape({s.m, s.n})));
    Gemm<float>(c.step().pool, ta_, tb_, s.m, s.n, s.k, a.data<float>(), a.dim(1), b.data<float>(), b.dim(1),
                out->data<float>(), s.n);
    return absl::OkStatus();
  }

 private:
  bool ta_ = false, tb_ = false;
};

// The conjugate when an adjoint of complex numbers is asked for: Gemm only transposes.
template <class T>
absl::StatusOr<Tensor> Conjugated(const Tensor& x, bool adjoint) {
  if constexpr (scalar::kIsComplex<T>) {
    if (adjoint) {
      ASSIGN_OR_RETURN(Tensor y, Tensor::Make(x.dtype(), x.shape()));
      for (int64_t i = 0; i < x.num_elements(); ++i) y.data<T>()[i] = scalar::Conj(x.data<T>()[i]);
      return y;
    }
  }
  return x;
}

template <class T>
class BatchMatMulKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(adj_x_, p.Attr<bool>("adj_x"));
    ASSIGN_OR_RETURN(adj_y_, p.Attr<bool>("adj_y"));
    broadcasts_ = p.node().op->name != "BatchMatMul";
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Shape xs = c.input(0).shape(), ys = c.input(1).shape();
    if (xs.rank() < 2 || ys.rank() < 2) {
      return InvalidArgument("wanted matrices in the last two dimensions, found shapes ", xs.ToString(), " and ",
                             ys.ToString());
    }
    const int64_t xr = xs.dim(xs.rank() - 2), xc = xs.dim(xs.rank() - 1), yr = ys.dim(ys.rank() - 2),
                  yc = ys.dim(ys.rank() - 1);
    const int64_t m = adj_x_ ? xc : xr, k = adj_x_ ? xr : xc, n = adj_y_ ? yr : yc;
    if (k != (adj_y_ ? yc : yr)) return InnerSizesDiffer(xs, ys, adj_x_, adj_y_, "adj_y");
    const Shape xb(xs.dims().subspan(0, xs.rank() - 2)), yb(ys.dims().subspan(0, ys.rank() - 2));
    if (!broadcasts_ && xb != yb) {
      return InvalidArgument("x and y must have the same dimensions before the last two, found shapes ", xs.ToString(),
                             " and ", ys.ToString());
    }
    ASSIGN_OR_RETURN(BroadcastPlan plan, BroadcastPlan::Make({&xb, &yb}));
    Shape shape = plan.output();
    shape.AddDim(m);
    shape.AddDim(n);
    ASSIGN_OR_RETURN(Tensor x, Conjugated<T>(c.input(0), adj_x_));
    ASSIGN_OR_RETURN(Tensor y, Conjugated<T>(c.input(1), adj_y_));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    if (shape.num_elements() == 0) return absl::OkStatus();
    const int64_t batch = plan.num_elements();
    T* z = out->data<T>();
    ThreadPool* pool = c.step().pool;
    if (yb.num_elements() == 1 && !adj_x_ && xb.num_elements() == batch) {
      // One matrix on the right: all rows of x at once.
      Gemm<T>(pool, false, adj_y_, batch * m, n, k, x.data<T>(), xc, y.data<T>(), yc, z, n);
      return absl::OkStatus();
    }
    auto multiply = [&](ThreadPool* inner_pool, int64_t begin, int64_t end) {
      plan.ForEachRun(begin, end, [&](const int64_t* offset, int64_t at, int64_t count) {
        for (int64_t i = 0; i < count; ++i) {
          const T* a = x.data<T>() + (offset[0] + i * plan.step(0)) * xr * xc;
          const T* b = y.data<T>() + (offset[1] + i * plan.step(1)) * yr * yc;
          Gemm<T>(inner_pool, adj_x_, adj_y_, m, n, k, a, xc, b, yc, z + (at + i) * m * n, n);
        }
      });
    };
    if (pool == nullptr || batch < pool->parallelism()) {
      multiply(pool, 0, batch);
    } else {
      const double cost = 50 + static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) * 0.03;
      c.ParallelFor(batch, cost, [&](int64_t begin, int64_t end) { multiply(nullptr, begin, end); });
    }
    return absl::OkStatus();
  }

 private:
  bool adj_x_ = false, adj_y_ = false, broadcasts_ = true;
};

}  // namespace

void AddMatMulKernels(KernelRegistry& k) {
  constexpr DTypeSet kSparse = {DType::kFloat, DType::kBfloat16};
  k.Add("MatMul", kCpu, KernelByType<MatMulKernel, kMatMulTypes.bits()>("T"));
  k.Add("SparseMatMul", kCpu, KernelDef().Types("Ta", kSparse).Types("Tb", kSparse).Make<SparseMatMulKernel>());
  k.Add("BatchMatMul", kCpu, KernelByType<BatchMatMulKernel, kMatMulTypes.bits()>("T"));
  k.Add("BatchMatMulV2", kCpu, KernelByType<BatchMatMulKernel, kMatMulTypes.bits()>("T"));
}

}  // namespace sluice
