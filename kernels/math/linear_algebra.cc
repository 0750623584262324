// Factorisations and linear systems of the matrices in the last two dimensions, by textbook algorithms: Gaussian
// elimination with partial pivoting, Cholesky, substitution (Golub and Van Loan, "Matrix Computations", chapters 3 and
// 4).
#include <cmath>
#include <complex>

#include "core/base/status.h"
#include "kernels/common/type_dispatch.h"
#include "kernels/math/scalar.h"
#include "kernels/math/topics.h"

namespace sluice {
namespace {

constexpr DTypeSet kTypes = {DType::kFloat, DType::kDouble, DType::kComplex64, DType::kComplex128};

absl::StatusOr<int64_t> SquareSize(const Shape& s) {
  if (s.rank() < 2 || s.dim(s.rank() - 1) != s.dim(s.rank() - 2)) {
    return InvalidArgument("wanted square matrices in the last two dimensions, found shape ", s.ToString());
  }
  return s.dim(s.rank() - 1);
}

int64_t Count(const Shape& s) {
  int64_t count = 1;
  for (int i = 0; i < s.rank() - 2; ++i) count *= s.dim(i);
  return count;
}

// Row i of op(m), where op is nothing or the adjoint.
template <class T>
std::vector<T> Copy(const T* m, int64_t n, bool adjoint) {
  std::vector<T> a(m, m + n * n);
  if (adjoint) {
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) a[i * n + j] = scalar::Conj(m[j * n + i]);
  }
  return a;
}

// Turns a into its L (unit diagonal) and U; order[i] is the row that came to place i. False when a pivot is 0. `sign`
// changes with each exchange.
template <class T>
bool Factor(std::vector<T>& a, int64_t n, std::vector<int64_t>& order, int* sign) {
  order.resize(n);
  for (int64_t i = 0; i < n; ++i) order[i] = i;
  *sign = 1;
  bool regular = true;
  for (int64_t k = 0; k < n; ++k) {
    int64_t p = k;
    for (int64_t i = k + 1; i < n; ++i) {
      if (std::abs(a[i * n + k]) > std::abs(a[p * n + k])) p = i;
    }
    if (a[p * n + k] == T(0)) {
      regular = false;
      continue;
    }
    if (p != k) {
      std::swap_ranges(a.begin() + p * n, a.begin() + (p + 1) * n, a.begin() + k * n);
      std::swap(order[p], order[k]);
      *sign = -*sign;
    }
    const T pivot = a[k * n + k];
    for (int64_t i = k + 1; i < n; ++i) {
      const T f = a[i * n + k] / pivot;
      a[i * n + k] = f;
      if (f == T(0)) continue;
      for (int64_t j = k + 1; j < n; ++j) a[i * n + j] -= scalar::Mul(f, a[k * n + j]);
    }
  }
  return regular;
}

// x := inverse of the triangle * x, for x of n rows and `width` columns.
template <class T>
void Substitute(const T* a, int64_t n, bool lower, bool unit, T* x, int64_t width) {
  for (int64_t step = 0; step < n; ++step) {
    const int64_t i = lower ? step : n - 1 - step;
    T* row = x + i * width;
    for (int64_t j = lower ? 0 : i + 1; j < (lower ? i : n); ++j) {
      const T f = a[i * n + j];
      if (f == T(0)) continue;
      for (int64_t q = 0; q < width; ++q) row[q] -= scalar::Mul(f, x[j * width + q]);
    }
    if (unit) continue;
    const T d = a[i * n + i];
    for (int64_t q = 0; q < width; ++q) row[q] /= d;
  }
}

template <class T>
absl::Status Solve(const T* m, int64_t n, bool adjoint, const T* rhs, int64_t width, T* x) {
  std::vector<T> a = Copy(m, n, adjoint);
  std::vector<int64_t> order;
  int sign;
  if (!Factor(a, n, order, &sign)) return InvalidArgument("the input matrix is not invertible");
  for (int64_t i = 0; i < n; ++i) std::copy_n(rhs + order[i] * width, width, x + i * width);
  Substitute(a.data(), n, /*lower=*/true, /*unit=*/true, x, width);
  Substitute(a.data(), n, /*lower=*/false, /*unit=*/false, x, width);
  return absl::OkStatus();
}

template <class T>
class CholeskyKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor x = c.input(0);
    ASSIGN_OR_RETURN(const int64_t n, SquareSize(x.shape()));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, x.shape()));
    for (int64_t b = 0; n > 0 && b < Count(x.shape()); ++b) {
      const T* a = x.data<T>() + b * n * n;
      T* l = out->data<T>() + b * n * n;
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j <= i; ++j) {
          T sum = a[i * n + j];
          for (int64_t p = 0; p < j; ++p) sum -= scalar::Mul(l[i * n + p], scalar::Conj(l[j * n + p]));
          if (i == j) {
            if (!(std::real(sum) > 0))
              return InvalidArgument("Cholesky decomposition was not successful: the input is not positive definite");
            l[i * n + i] = std::sqrt(std::real(sum));
          } else {
            l[i * n + j] = sum / l[j * n + j];
          }
        }
        for (int64_t j = i + 1; j < n; ++j) l[i * n + j] = T(0);
      }
    }
    return absl::OkStatus();
  }
};

template <class T>
class InverseKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(adjoint_, p.Attr<bool>("adjoint"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor x = c.input(0);
    ASSIGN_OR_RETURN(const int64_t n, SquareSize(x.shape()));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, x.shape()));
    std::vector<T> eye(static_cast<size_t>(n * n), T(0));
    for (int64_t i = 0; i < n; ++i) eye[i * n + i] = T(1);
    for (int64_t b = 0; b < Count(x.shape()); ++b) {
      RETURN_IF_ERROR(Solve<T>(x.data<T>() + b * n * n, n, adjoint_, eye.data(), n, out->data<T>() + b * n * n));
    }
    return absl::OkStatus();
  }

 private:
  bool adjoint_ = false;
};

template <class T>
class DeterminantKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor x = c.input(0);
    ASSIGN_OR_RETURN(const int64_t n, SquareSize(x.shape()));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Shape(x.shape().dims().subspan(0, x.rank() - 2))));
    std::vector<int64_t> order;
    for (int64_t b = 0; b < out->num_elements(); ++b) {
      std::vector<T> a = Copy(x.data<T>() + b * n * n, n, false);
      int sign;
      Factor(a, n, order, &sign);
      T product = T(static_cast<float>(sign));
      for (int64_t i = 0; i < n; ++i) product = scalar::Mul(product, a[i * n + i]);
      out->data<T>()[b] = product;
    }
    return absl::OkStatus();
  }
};

absl::StatusOr<int64_t> CheckSystem(const Shape& m, const Shape& rhs) {
  ASSIGN_OR_RETURN(int64_t n, SquareSize(m));
  bool agree = rhs.rank() == m.rank();
  for (int i = 0; agree && i < m.rank() - 1; ++i) agree = m.dim(i) == rhs.dim(i);
  if (!agree)
    return InvalidArgument("matrix has shape ", m.ToString(), ", which does not go with rhs of shape ", rhs.ToString());
  return n;
}

template <class T>
class SolveKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(adjoint_, p.Attr<bool>("adjoint"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor m = c.input(0), rhs = c.input(1);
    ASSIGN_OR_RETURN(const int64_t n, CheckSystem(m.shape(), rhs.shape()));
    const int64_t width = rhs.dim(rhs.rank() - 1);
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, rhs.shape()));
    for (int64_t b = 0; b < Count(m.shape()); ++b) {
      RETURN_IF_ERROR(Solve<T>(m.data<T>() + b * n * n, n, adjoint_, rhs.data<T>() + b * n * width, width,
                               out->data<T>() + b * n * width));
    }
    return absl::OkStatus();
  }

 private:
  bool adjoint_ = false;
};

template <class T>
class TriangularSolveKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(adjoint_, p.Attr<bool>("adjoint"));
    ASSIGN_OR_RETURN(lower_, p.Attr<bool>("lower"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor m = c.input(0), rhs = c.input(1);
    ASSIGN_OR_RETURN(const int64_t n, CheckSystem(m.shape(), rhs.shape()));
    const int64_t width = rhs.dim(rhs.rank() - 1);
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, rhs.shape()));
    for (int64_t b = 0; b < Count(m.shape()); ++b) {
      const std::vector<T> a = Copy(m.data<T>() + b * n * n, n, adjoint_);
      for (int64_t i = 0; i < n; ++i) {
        if (a[i * n + i] == T(0))
          return InvalidArgument("the input matrix is not invertible: element ", i, " of its diagonal is 0");
      }
      T* x = out->data<T>() + b * n * width;
      std::copy_n(rhs.data<T>() + b * n * width, n * width, x);
      Substitute(a.data(), n, lower_ != adjoint_, /*unit=*/false, x, width);
    }
    return absl::OkStatus();
  }

 private:
  bool adjoint_ = false, lower_ = true;
};

}  // namespace

void AddLinearAlgebraKernels(KernelRegistry& k) {
  k.Add("Cholesky", kCpu, KernelByType<CholeskyKernel, kTypes.bits()>("T"));
  k.Add("MatrixInverse", kCpu, KernelByType<InverseKernel, kTypes.bits()>("T"));
  k.Add("MatrixDeterminant", kCpu, KernelByType<DeterminantKernel, kTypes.bits()>("T"));
  k.Add("MatrixSolve", kCpu, KernelByType<SolveKernel, kTypes.bits()>("T"));
  k.Add("MatrixTriangularSolve", kCpu, KernelByType<TriangularSolveKernel, kTypes.bits()>("T"));
}

}  // namespace sluice
