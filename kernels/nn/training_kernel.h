// The kernel of an update rule, in its dense and sparse forms, on reference and resource variables.
//
// One pass reads the gradient and every state and writes the states, in place where no reader holds them. The locks of
// all variables are held meanwhile, so an update is seen whole or not at all. All checks come before the first write.
// Sparse updates take repeated indices one after the other in their order; rows are divided among threads by index, so
// the order holds for each. The kernel of a rule also runs `_FusedUpdates`, the dense updates of several variables:
// they share one look at the hyper-parameters and one division of all their elements among threads.
#ifndef SLUICE_KERNELS_NN_TRAINING_KERNEL_H_
#define SLUICE_KERNELS_NN_TRAINING_KERNEL_H_

#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/strings/match.h"
#include "absl/types/span.h"
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
    const void* from[kMaxStates];
    void* to[kMaxStates];
    const void* gradient;
    const int64_t* rows = nullptr;
    int64_t num_rows = 0, row_size = 0, elements = 0;
  };
  // One step, or several without rows.
  virtual void Update(KernelContext& c, const Tensor* const* hyper, absl::Span<const Step> steps) const = 0;
  const UpdateFlags& flags() const { return flags_; }

 private:
  absl::Status PrepareTogether(PrepareContext& p);
  // Input of the node for state i, or i = states_ for the gradient, of update u.
  int InputOf(int u, int i) const { return u * (states_ + 1) + (count_ == 1 && i == states_ ? gradient_ : i); }
  std::string Source(int u) const { return sources_.empty() ? "" : sources_[u] + ": "; }
  absl::Status Locked(KernelContext& c, Variable* const* variables, int first, int count) const;
  absl::Status Apply(KernelContext& c, Variable* const* variables, int first, int count) const;
  absl::Status ApplyToRows(KernelContext& c, Variable* const* variables, const Tensor* const* hyper) const;
  absl::Status CheckHyper(KernelContext& c, const Tensor** hyper) const;
  absl::Status CheckShapes(KernelContext& c, Variable* const* variables, int u) const;

  const int states_;
  const char* const* hyper_names_;
  const int num_hyper_;
  int hyper_[kMaxHyper] = {};
  int gradient_ = 0;
  int indices_ = -1;
  int count_ = 1;                         // updates in the node
  std::vector<std::string> state_names_;  // in messages
  std::vector<std::string> sources_;      // of each update, when there are several
  DType type_ = DType::kInvalid;
  UpdateFlags flags_;
};

// How many updates one node can hold.
inline constexpr int kMaxUpdatesTogether = 32;

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
  void Update(KernelContext& c, const Tensor* const* hyper, absl::Span<const Step> steps) const override {
    C h[std::size(Rule::kHyper)];
    for (size_t i = 0; i < std::size(Rule::kHyper); ++i) {
      const Tensor& t = *hyper[i];
      h[i] = t.dtype() == DType::kInt64 ? static_cast<C>(t.scalar<int64_t>()) : static_cast<C>(t.scalar<T>());
    }
    const Rule rule(h, flags());
    if constexpr (internal::HasQuickForm<Rule>::value) {
      if (rule.IsQuick()) return Loop(c, steps, typename Rule::Quick(h, flags()));
    }
    Loop(c, steps, rule);
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

  // Where the elements of the next step begin when those of all steps are counted: what threads take starts at a
  // multiple of 16 in each.
  static constexpr int64_t kAlign = 16;
  static int64_t Places(const Step& step) { return (step.elements + kAlign - 1) / kAlign * kAlign; }

  template <class R>
  static void Loop(KernelContext& c, absl::Span<const Step> steps, const R& rule) {
    if (steps[0].rows != nullptr) return LoopRows(c, steps[0], rule);
    int64_t total = 0;
    for (const Step& step : steps) total += Places(step);
    c.ParallelFor(
        total, 0.15 * (kStates + 1),
        [&](int64_t begin, int64_t end) {
          Vectorised([&]() SLUICE_INLINE_LOOP {
            const R r = rule;
            for (const Step* step = steps.begin(); step != steps.end() && end > 0; ++step) {
              const int64_t from = std::max<int64_t>(begin, 0), to = std::min(end, step->elements);
              if (from < to) Elements(*step, r, static_cast<const T*>(step->gradient), 0, from, to);
              begin -= Places(*step);
              end -= Places(*step);
            }
          });
        },
        kAlign);
  }

  template <class R>
  static void LoopRows(KernelContext& c, const Step& step, const R& rule) {
    const T* g = static_cast<const T*>(step.gradient);
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
