// The kernel of an update rule, in its dense and sparse forms, on reference and resource variables.
//
// One pass reads the gradient and every state and writes the states, in place where no reader holds them. The locks of
// all variables are held meanwhile, so an update is seen whole or not at all. All checks come before the first write.
// Sparse updates take repeated indices one after the other in their order; rows are divided among threads by index, so
// the order holds for each.
#ifndef SLUICE_KERNELS_NN_TRAINING_KERNEL_H_
#define SLUICE_KERNELS_NN_TRAINING_KERNEL_H_

#include <array>
#include <iterator>
#include <memory>
#include <string>
#include <type_traits>

#include "absl/strings/match.h"
#include "core/base/status.h"
#include "core/kernel/kernel_registry.h"
#include "core/kernel/variable.h"
#include "kernels/common/type_dispatch.h"
#include "kernels/nn/simd.h"
#include "kernels/nn/training_rules.h"

namespace sluice {

// The part that does not depend on rule and type: finding variables and inputs, and checking them.
class UpdateKernelBase : public Kernel {
 public:
  UpdateKernelBase(int states, const char* const* hyper, int num_hyper)
      : states_(states), hyper_names_(hyper), num_hyper_(num_hyper) {}
  absl::Status Prepare(PrepareContext& p) final;
  absl::Status Run(KernelContext& c) const final;

 protected:
  static constexpr int kMaxStates = 4;
  static constexpr int kMaxHyper = 6;
  // One update, checked and locked. Where `rows` is given, gradient row i belongs to row rows[i] of the states.
  struct Step {
    const Tensor* hyper[kMaxHyper];
    const void* from[kMaxStates];
    void* to[kMaxStates];
    const void* gradient;
    const int64_t* rows = nullptr;
    int64_t num_rows = 0, row_size = 0, elements = 0;
    UpdateFlags flags;
  };
  virtual void Update(KernelContext& c, const Step& step) const = 0;

 private:
  absl::Status CheckShapes(KernelContext& c, const Variable* const* variables) const;

  const int states_;
  const char* const* hyper_names_;
  const int num_hyper_;
  int hyper_[kMaxHyper] = {};
  int gradient_ = 0;
  int indices_ = -1;
  DType type_ = DType::kInvalid;
  UpdateFlags flags_;
};

namespace internal {
template <class Rule, class = void>
struct HasQuickForm : std::false_type {};
template <class Rule>
struct HasQuickForm<Rule, std::void_t<decltype(Rule::kHasQuickForm)>> : std::true_type {};
}  // namespace internal

template <template <class> class RuleOf, class T>
class UpdateKernel : public UpdateKernelBase {
  using C = std::conditional_t<std::is_same_v<T, double>, double, float>;
  using Rule = RuleOf<C>;
  static constexpr int kStates = Rule::kSlots + 1;
  static_assert(kStates <= kMaxStates && std::size(Rule::kHyper) <= kMaxHyper);

 public:
  UpdateKernel() : UpdateKernelBase(kStates, Rule::kHyper, std::size(Rule::kHyper)) {}

 protected:
  void Update(KernelContext& c, const Step& step) const override {
    C h[std::size(Rule::kHyper)];
    for (size_t i = 0; i < std::size(Rule::kHyper); ++i) {
      const Tensor& t = *step.hyper[i];
      h[i] = t.dtype() == DType::kInt64 ? static_cast<C>(t.scalar<int64_t>()) : static_cast<C>(t.scalar<T>());
    }
    const Rule rule(h, step.flags);
    if constexpr (internal::HasQuickForm<Rule>::value) {
      if (rule.IsQuick()) return Loop(c, step, typename Rule::Quick(h, step.flags));
    }
    Loop(c, step, rule);
  }

 private:
  // Elements [begin, end) of gradient `g` and the states at `offset` from them.
  template <class R>
  static SLUICE_HOST_DEVICE void Elements(const Step& step, const R& rule, const T* g, int64_t offset, int64_t begin,
                                          int64_t end) {
    const T* from[kStates];
    T* to[kStates];
    for (int k = 0; k < kStates; ++k) {
      from[k] = static_cast<const T*>(step.from[k]) + offset;
      to[k] = static_cast<T*>(step.to[k]) + offset;
    }
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) {
      C x[kStates];
      for (int k = 0; k < kStates; ++k) x[k] = static_cast<C>(from[k][i]);
      rule(static_cast<C>(g[i]), x);
      for (int k = 0; k < kStates; ++k) to[k][i] = static_cast<T>(x[k]);
    }
  }

  template <class F>
  static void Vectorised(const F& f) {
    if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
      WithSimd(f);
    } else {
      RunBaseline(f);
    }
  }

  template <class R>
  static void Loop(KernelContext& c, const Step& step, const R& rule) {
    const T* g = static_cast<const T*>(step.gradient);
    if (step.rows == nullptr) {
      c.ParallelFor(
          step.elements, 0.15 * (kStates + 1),
          [&](int64_t begin, int64_t end) {
            Vectorised([&]() SLUICE_INLINE_LOOP {
              const R r = rule;
              Elements(step, r, g, 0, begin, end);
            });
          },
          16);
      return;
    }
    // Thread t takes the rows whose number is t modulo the count, each in the order of the indices.
    const int64_t work = step.num_rows * step.row_size;
    const int64_t shares = work < 16384 ? 1 : c.step().pool->parallelism();
    c.ParallelFor(shares, work * 0.3 * kStates / shares, [&](int64_t first, int64_t last) {
      Vectorised([&]() SLUICE_INLINE_LOOP {
        const R r = rule;
        for (int64_t share = first; share < last; ++share) {
          for (int64_t i = 0; i < step.num_rows; ++i) {
            const int64_t row = step.rows[i];
            if (shares > 1 && row % shares != share) continue;
            Elements(step, r, g + i * step.row_size, row * step.row_size, 0, step.row_size);
          }
        }
      });
    });
  }
};

// Adds the kernels of all forms of Apply<name> that the registry of ops may have.
template <template <class> class RuleOf>
KernelDef UpdateDef() {
  return KernelDef().Types("T", kFloatingTypes).Factory([](const NodeInfo& node) {
    std::unique_ptr<Kernel> kernel;
    Dispatch<kFloatingTypes.bits()>(node.Attr<DType>("T").value_or(DType::kInvalid), [&](auto tag) {
      kernel = std::make_unique<UpdateKernel<RuleOf, typename decltype(tag)::type>>();
    });
    return kernel;
  });
}

enum UpdateForms { kDenseRef = 1, kDenseResource = 2, kSparseRef = 4, kSparseResource = 8, kAllForms = 15 };

template <template <class> class RuleOf>
void AddUpdate(KernelRegistry& k, const std::string& name, int forms) {
  if (forms & kDenseRef) k.Add("Apply" + name, kCpu, UpdateDef<RuleOf>());
  if (forms & kDenseResource) k.Add("ResourceApply" + name, kCpu, UpdateDef<RuleOf>());
  if (forms & kSparseRef) k.Add("SparseApply" + name, kCpu, UpdateDef<RuleOf>());
  if (forms & kSparseResource) k.Add("ResourceSparseApply" + name, kCpu, UpdateDef<RuleOf>());
}

}  // namespace sluice

#endif  // SLUICE_KERNELS_NN_TRAINING_KERNEL_H_
