// Diagonals and bands of matrices: elements are moved by their size alone. And the cross product.
#include <cstring>

#include "core/base/status.h"
#include "kernels/common/type_dispatch.h"
#include "kernels/math/scalar.h"
#include "kernels/math/topics.h"

namespace sluice {
namespace {

struct Batch {
  int64_t count = 1, rows = 0, columns = 0;
  int64_t diagonal() const { return std::min(rows, columns); }
};

absl::StatusOr<Batch> Matrices(const Shape& s) {
  if (s.rank() < 2) return InvalidArgument("wanted matrices in the last two dimensions, found shape ", s.ToString());
  Batch b;
  b.rows = s.dim(s.rank() - 2);
  b.columns = s.dim(s.rank() - 1);
  for (int i = 0; i < s.rank() - 2; ++i) b.count *= s.dim(i);
  return b;
}

Shape DiagonalShape(const Shape& s, const Batch& b) {
  Shape d(s.dims().subspan(0, s.rank() - 2));
  d.AddDim(b.diagonal());
  return d;
}

// Copies n elements of `size` bytes between places that lie at these distances.
void CopyStrided(const char* from, int64_t from_step, char* to, int64_t to_step, int64_t n, int64_t size) {
  for (int64_t i = 0; i < n; ++i) std::memcpy(to + i * to_step * size, from + i * from_step * size, size);
}

class MatrixDiag : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor d = c.input(0);
    if (d.rank() < 1) return InvalidArgument("wanted vectors in the last dimension, found a scalar");
    const int64_t n = d.dim(d.rank() - 1), size = ElementSize(d.dtype());
    Shape shape = d.shape();
    shape.AddDim(n);
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    if (out->num_elements() == 0) return absl::OkStatus();
    std::memset(out->raw_data(), 0, out->num_bytes());
    for (int64_t b = 0; b < d.num_elements() / n; ++b) {
      CopyStrided(static_cast<const char*>(d.raw_data()) + b * n * size, 1,
                  static_cast<char*>(out->raw_data()) + b * n * n * size, n + 1, n, size);
    }
    return absl::OkStatus();
  }
};

class MatrixDiagPart : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor x = c.input(0);
    ASSIGN_OR_RETURN(Batch b, Matrices(x.shape()));
    const int64_t size = ElementSize(x.dtype()), n = b.diagonal();
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, DiagonalShape(x.shape(), b)));
    for (int64_t i = 0; i < b.count && n > 0; ++i) {
      CopyStrided(static_cast<const char*>(x.raw_data()) + i * b.rows * b.columns * size, b.columns + 1,
                  static_cast<char*>(out->raw_data()) + i * n * size, 1, n, size);
    }
    return absl::OkStatus();
  }
};

class MatrixSetDiag : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor x = c.input(0), d = c.input(1);
    ASSIGN_OR_RETURN(Batch b, Matrices(x.shape()));
    const Shape want = DiagonalShape(x.shape(), b);
    if (d.shape() != want) {
      return InvalidArgument("the diagonal of shape ", x.shape().ToString(), " has shape ", want.ToString(), ", found ",
                             d.shape().ToString());
    }
    const int64_t size = ElementSize(x.dtype()), n = b.diagonal();
    ASSIGN_OR_RETURN(Tensor * out, c.ForwardOrAllocate(0, 0, x.shape()));
    if (out->num_elements() == 0) return absl::OkStatus();
    if (out->raw_data() != x.raw_data()) std::memcpy(out->raw_data(), x.raw_data(), x.num_bytes());
    for (int64_t i = 0; i < b.count; ++i) {
      CopyStrided(static_cast<const char*>(d.raw_data()) + i * n * size, 1,
                  static_cast<char*>(out->raw_data()) + i * b.rows * b.columns * size, b.columns + 1, n, size);
    }
    return absl::OkStatus();
  }
};

class MatrixBandPart : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor x = c.input(0);
    ASSIGN_OR_RETURN(Batch b, Matrices(x.shape()));
    int64_t keep[2];
    for (int i : {0, 1}) {
      const Tensor& t = c.input(1 + i);
      const char* name = i == 0 ? "num_lower" : "num_upper";
      if (t.num_elements() != 1) return InvalidArgument(name, " must be a scalar, found shape ", t.shape().ToString());
      keep[i] = t.IntAt(0);
      const int64_t most = i == 0 ? b.rows : b.columns;
      if (keep[i] > most) return InvalidArgument(name, " must not be above ", most, ", found ", keep[i]);
      if (keep[i] < 0) keep[i] = most;
    }
    const int64_t size = ElementSize(x.dtype()), row_bytes = b.columns * size;
    ASSIGN_OR_RETURN(Tensor * out, c.ForwardOrAllocate(0, 0, x.shape()));
    const char* from = static_cast<const char*>(x.raw_data());
    char* to = static_cast<char*>(out->raw_data());
    c.ParallelFor(b.count * b.rows, 0.2 * static_cast<double>(row_bytes) + 2, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const int64_t i = b.rows == 0 ? 0 : r % b.rows;
        const int64_t first = std::min(b.columns, std::max<int64_t>(0, i - keep[0])),
                      last = std::max(first, std::min(b.columns, i + keep[1] + 1));
        char* row = to + r * row_bytes;
        if (row_bytes == 0) continue;
        if (to != from) std::memcpy(row + first * size, from + r * row_bytes + first * size, (last - first) * size);
        std::memset(row, 0, first * size);
        std::memset(row + last * size, 0, (b.columns - last) * size);
      }
    });
    return absl::OkStatus();
  }
};

// A tensor of rank r on the diagonal of one of rank 2r, and back.
class Diag : public Kernel {
 public:
  explicit Diag(bool part) : part_(part) {}
  absl::Status Run(KernelContext& c) const override {
    const Tensor x = c.input(0);
    const int64_t size = ElementSize(x.dtype());
    Shape shape;
    if (part_) {
      const int half = x.rank() / 2;
      if (x.rank() < 2 || x.rank() % 2 != 0 || x.shape().dims().subspan(0, half) != x.shape().dims().subspan(half)) {
        return InvalidArgument("wanted a shape of two equal halves, found ", x.shape().ToString());
      }
      shape = Shape(x.shape().dims().subspan(0, half));
    } else {
      if (x.rank() < 1) return InvalidArgument("wanted rank 1 or more, found a scalar");
      std::vector<int64_t> dims(x.shape().dims().begin(), x.shape().dims().end());
      dims.insert(dims.end(), x.shape().dims().begin(), x.shape().dims().end());
      ASSIGN_OR_RETURN(shape, Shape::Make(dims));
    }
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    const int64_t n = part_ ? shape.num_elements() : x.num_elements();
    if (n == 0) return absl::OkStatus();
    if (!part_) std::memset(out->raw_data(), 0, out->num_bytes());
    CopyStrided(static_cast<const char*>(x.raw_data()), part_ ? n + 1 : 1, static_cast<char*>(out->raw_data()),
                part_ ? 1 : n + 1, n, size);
    return absl::OkStatus();
  }

 private:
  bool part_;
};

class CrossKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor a = c.input(0), b = c.input(1);
    if (a.shape() != b.shape() || a.rank() < 1 || a.dim(a.rank() - 1) != 3) {
      return InvalidArgument("wanted two tensors of one shape with 3 elements in the last dimension, found ",
                             a.shape().ToString(), " and ", b.shape().ToString());
    }
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, a.shape()));
    Dispatch<kRealTypes.bits()>(a.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      const T *u = a.data<T>(), *v = b.data<T>();
      T* z = out->data<T>();
      for (int64_t i = 0; i + 2 < a.num_elements(); i += 3) {
        for (int j = 0; j < 3; ++j) {
          const int64_t p = i + (j + 1) % 3, q = i + (j + 2) % 3;
          if constexpr (std::is_integral_v<T>) {
            z[i + j] = scalar::Sub(scalar::Mul(u[p], v[q]), scalar::Mul(u[q], v[p]));
          } else {
            z[i + j] = u[p] * v[q] - u[q] * v[p];
          }
        }
      }
    });
    return absl::OkStatus();
  }
};

}  // namespace

void AddMatrixKernels(KernelRegistry& k) {
  constexpr DTypeSet kDiagTypes = kArithmeticTypes | DTypeSet{DType::kBool};
  k.Add("MatrixDiag", kCpu, KernelDef().Types("T", kPlainTypes).Make<MatrixDiag>());
  k.Add("MatrixDiagPart", kCpu, KernelDef().Types("T", kPlainTypes).Make<MatrixDiagPart>());
  k.Add("MatrixSetDiag", kCpu, KernelDef().Types("T", kPlainTypes).Make<MatrixSetDiag>());
  k.Add("MatrixBandPart", kCpu, KernelDef().Types("T", kPlainTypes).Make<MatrixBandPart>());
  k.Add("Diag", kCpu,
        KernelDef().Types("T", kDiagTypes).Factory([](const NodeInfo&) { return std::make_unique<Diag>(false); }));
  k.Add("DiagPart", kCpu,
        KernelDef().Types("T", kDiagTypes).Factory([](const NodeInfo&) { return std::make_unique<Diag>(true); }));
  k.Add("Cross", kCpu, KernelDef().Types("T", kRealTypes).Make<CrossKernel>());
}

}  // namespace sluice
