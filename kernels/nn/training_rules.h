// The update rules of optimisers, one element at a time, for host and device.
//
// A rule has a variable and kSlots more states, named hyper-parameters (kHyper, inputs of the op), and a constructor
// that works out what is common to all elements. Its call updates the states of one element in place from the gradient
// g: x[0] is the variable, x[1] ... the slots in the order of the op's inputs. C is the type that it computes with.
#ifndef SLUICE_KERNELS_NN_TRAINING_RULES_H_
#define SLUICE_KERNELS_NN_TRAINING_RULES_H_

#include <cmath>

#include "kernels/common/macros.h"

namespace sluice {

// Attributes of the node that choose a form of the rule; absent ones are false.
struct UpdateFlags {
  bool use_nesterov = false;
  bool update_slots = true;
};

template <class C>
SLUICE_HOST_DEVICE C SignOf(C x) {
  return x > C(0) ? C(1) : (x < C(0) ? C(-1) : C(0));
}
template <class C>
SLUICE_HOST_DEVICE C AbsOf(C x) {
  return x < C(0) ? -x : x;
}
template <class C>
SLUICE_HOST_DEVICE C MaxOf2(C a, C b) {
  return a > b ? a : b;
}
// Shrinks towards zero by `by`, and through it never.
template <class C>
SLUICE_HOST_DEVICE C Shrink(C x, C by) {
  return SignOf(x) * MaxOf2(AbsOf(x) - by, C(0));
}

template <class C>
struct GradientDescentRule {
  static constexpr int kSlots = 0;
  static constexpr const char* kHyper[] = {"alpha"};
  C alpha;
  GradientDescentRule(const C* h, UpdateFlags) : alpha(h[0]) {}
  SLUICE_HOST_DEVICE void operator()(C g, C* x) const { x[0] -= alpha * g; }
};

template <class C>
struct ProximalGradientDescentRule {
  static constexpr int kSlots = 0;
  static constexpr const char* kHyper[] = {"alpha", "l1", "l2"};
  C alpha, l1, scale;
  ProximalGradientDescentRule(const C* h, UpdateFlags) : alpha(h[0]), l1(h[1]), scale(1 / (1 + h[0] * h[2])) {}
  SLUICE_HOST_DEVICE void operator()(C g, C* x) const {
    const C stepped = x[0] - alpha * g;
    x[0] = (l1 > C(0) ? Shrink(stepped, alpha * l1) : stepped) * scale;
  }
};

template <class C>
struct MomentumRule {
  static constexpr int kSlots = 1;
  static constexpr const char* kHyper[] = {"lr", "momentum"};
  C lr, momentum;
  bool nesterov;
  MomentumRule(const C* h, UpdateFlags f) : lr(h[0]), momentum(h[1]), nesterov(f.use_nesterov) {}
  SLUICE_HOST_DEVICE void operator()(C g, C* x) const {
    x[1] = x[1] * momentum + g;
    x[0] -= lr * (nesterov ? g + momentum * x[1] : x[1]);
  }
};

template <class C>
struct KerasMomentumRule {
  static constexpr int kSlots = 1;
  static constexpr const char* kHyper[] = {"lr", "momentum"};
  C lr, momentum;
  bool nesterov;
  KerasMomentumRule(const C* h, UpdateFlags f) : lr(h[0]), momentum(h[1]), nesterov(f.use_nesterov) {}
  SLUICE_HOST_DEVICE void operator()(C g, C* x) const {
    x[1] = x[1] * momentum - lr * g;
    x[0] += nesterov ? momentum * x[1] - lr * g : x[1];
  }
};

template <class C>
struct AdagradRule {
  static constexpr int kSlots = 1;
  static constexpr const char* kHyper[] = {"lr"};
  C lr, grow;
  AdagradRule(const C* h, UpdateFlags f) : lr(h[0]), grow(f.update_slots ? 1 : 0) {}
  SLUICE_HOST_DEVICE void operator()(C g, C* x) const {
    x[1] += grow * g * g;
    x[0] -= lr * g / std::sqrt(x[1]);
  }
};

template <class C>
struct AdagradV2Rule {
  static constexpr int kSlots = 1;
  static constexpr const char* kHyper[] = {"lr", "epsilon"};
  C lr, epsilon, grow;
  AdagradV2Rule(const C* h, UpdateFlags f) : lr(h[0]), epsilon(h[1]), grow(f.update_slots ? 1 : 0) {}
  SLUICE_HOST_DEVICE void operator()(C g, C* x) const {
    x[1] += grow * g * g;
    x[0] -= lr * g / (std::sqrt(x[1]) + epsilon);
  }
};

template <class C>
struct AdagradDaRule {
  static constexpr int kSlots = 2;
  static constexpr const char* kHyper[] = {"lr", "l1", "l2", "global_step"};
  C lr, l1_steps, l2_steps;
  AdagradDaRule(const C* h, UpdateFlags) : lr(h[0]), l1_steps(h[1] * h[3]), l2_steps(h[2] * h[3] * h[0]) {}
  SLUICE_HOST_DEVICE void operator()(C g, C* x) const {
    x[1] += g;
    x[2] += g * g;
    x[0] = -lr * (l1_steps > C(0) ? Shrink(x[1], l1_steps) : x[1]) / (l2_steps + std::sqrt(x[2]));
  }
};

template <class C>
struct ProximalAdagradRule {
  static constexpr int kSlots = 1;
  static constexpr const char* kHyper[] = {"lr", "l1", "l2"};
  C lr, l1, l2;
  ProximalAdagradRule(const C* h, UpdateFlags) : lr(h[0]), l1(h[1]), l2(h[2]) {}
  SLUICE_HOST_DEVICE void operator()(C g, C* x) const {
    x[1] += g * g;
    const C rate = lr / std::sqrt(x[1]);
    const C stepped = x[0] - rate * g;
    x[0] = (l1 > C(0) ? Shrink(stepped, rate * l1) : stepped) / (1 + l2 * rate);
  }
};

template <class C>
struct AdadeltaRule {
  static constexpr int kSlots = 2;
  static constexpr const char* kHyper[] = {"lr", "rho", "epsilon"};
  C lr, rho, epsilon;
  AdadeltaRule(const C* h, UpdateFlags) : lr(h[0]), rho(h[1]), epsilon(h[2]) {}
  SLUICE_HOST_DEVICE void operator()(C g, C* x) const {
    x[1] = x[1] * rho + g * g * (1 - rho);
    const C update = std::sqrt(x[2] + epsilon) / std::sqrt(x[1] + epsilon) * g;
    x[2] = x[2] * rho + update * update * (1 - rho);
    x[0] -= lr * update;
  }
};

template <class C>
struct RmsPropRule {
  static constexpr int kSlots = 2;
  static constexpr const char* kHyper[] = {"lr", "rho", "momentum", "epsilon"};
  C lr, rho, momentum, epsilon;
  RmsPropRule(const C* h, UpdateFlags) : lr(h[0]), rho(h[1]), momentum(h[2]), epsilon(h[3]) {}
  SLUICE_HOST_DEVICE void operator()(C g, C* x) const {
    x[1] += (g * g - x[1]) * (1 - rho);
    x[2] = x[2] * momentum + lr * g / std::sqrt(x[1] + epsilon);
    x[0] -= x[2];
  }
};

template <class C>
struct CenteredRmsPropRule {
  static constexpr int kSlots = 3;
  static constexpr const char* kHyper[] = {"lr", "rho", "momentum", "epsilon"};
  C lr, rho, momentum, epsilon;
  CenteredRmsPropRule(const C* h, UpdateFlags) : lr(h[0]), rho(h[1]), momentum(h[2]), epsilon(h[3]) {}
  SLUICE_HOST_DEVICE void operator()(C g, C* x) const {
    x[2] += (g * g - x[2]) * (1 - rho);
    x[1] += (g - x[1]) * (1 - rho);
    x[3] = x[3] * momentum + lr * g / std::sqrt(x[2] - x[1] * x[1] + epsilon);
    x[0] -= x[3];
  }
};

template <class C>
struct AdamRule {
  static constexpr int kSlots = 2;
  static constexpr const char* kHyper[] = {"beta1_power", "beta2_power", "lr", "beta1", "beta2", "epsilon"};
  C rate, beta1, beta2, epsilon;
  bool nesterov;
  AdamRule(const C* h, UpdateFlags f)
      : rate(h[2] * std::sqrt(1 - h[1]) / (1 - h[0])),
        beta1(h[3]),
        beta2(h[4]),
        epsilon(h[5]),
        nesterov(f.use_nesterov) {}
  SLUICE_HOST_DEVICE void operator()(C g, C* x) const {
    x[1] += (g - x[1]) * (1 - beta1);
    x[2] += (g * g - x[2]) * (1 - beta2);
    const C direction = nesterov ? g * (1 - beta1) + beta1 * x[1] : x[1];
    x[0] -= rate * direction / (std::sqrt(x[2]) + epsilon);
  }
};

template <class C>
struct AmsgradRule {
  static constexpr int kSlots = 3;
  static constexpr const char* kHyper[] = {"beta1_power", "beta2_power", "lr", "beta1", "beta2", "epsilon"};
  C rate, beta1, beta2, epsilon;
  AmsgradRule(const C* h, UpdateFlags)
      : rate(h[2] * std::sqrt(1 - h[1]) / (1 - h[0])), beta1(h[3]), beta2(h[4]), epsilon(h[5]) {}
  SLUICE_HOST_DEVICE void operator()(C g, C* x) const {
    x[1] += (g - x[1]) * (1 - beta1);
    x[2] += (g * g - x[2]) * (1 - beta2);
    x[3] = MaxOf2(x[3], x[2]);
    x[0] -= rate * x[1] / (std::sqrt(x[3]) + epsilon);
  }
};

template <class C>
struct AdaMaxRule {
  static constexpr int kSlots = 2;
  static constexpr const char* kHyper[] = {"beta1_power", "lr", "beta1", "beta2", "epsilon"};
  C rate, beta1, beta2, epsilon;
  AdaMaxRule(const C* h, UpdateFlags) : rate(h[1] / (1 - h[0])), beta1(h[2]), beta2(h[3]), epsilon(h[4]) {}
  SLUICE_HOST_DEVICE void operator()(C g, C* x) const {
    x[1] += (g - x[1]) * (1 - beta1);
    x[2] = MaxOf2(beta2 * x[2], AbsOf(g));
    x[0] -= rate * x[1] / (x[2] + epsilon);
  }
};

// kShrinkage: whether the op has l2_shrinkage before lr_power. kSqrt: lr_power is -0.5, which all but always holds.
template <class C, bool kShrinkage, bool kSqrt>
struct FtrlOf {
  static constexpr int kSlots = 2;
  C lr, l1, l2, shrinkage, power;
  FtrlOf(const C* h, UpdateFlags)
      : lr(h[0]), l1(h[1]), l2(h[2]), shrinkage(kShrinkage ? h[3] : C(0)), power(-h[kShrinkage ? 4 : 3]) {}
  SLUICE_HOST_DEVICE C Power(C accum) const {
    if constexpr (kSqrt) {
      return std::sqrt(accum);
    } else {
      return std::pow(accum, power);
    }
  }
  SLUICE_HOST_DEVICE void operator()(C g, C* x) const {
    const C accum = x[1] + g * g;
    const C after = Power(accum);
    x[2] += g + 2 * shrinkage * x[0] - (after - Power(x[1])) / lr * x[0];
    const C beyond = l1 * SignOf(x[2]) - x[2];
    x[0] = AbsOf(x[2]) > l1 ? beyond / (after / lr + 2 * l2) : C(0);
    x[1] = accum;
  }
};
template <class C>
struct FtrlRule : FtrlOf<C, false, false> {
  static constexpr const char* kHyper[] = {"lr", "l1", "l2", "lr_power"};
  static constexpr bool kHasQuickForm = true;
  using Quick = FtrlOf<C, false, true>;
  using FtrlOf<C, false, false>::FtrlOf;
  bool IsQuick() const { return this->power == C(0.5); }
};
template <class C>
struct FtrlV2Rule : FtrlOf<C, true, false> {
  static constexpr const char* kHyper[] = {"lr", "l1", "l2", "l2_shrinkage", "lr_power"};
  static constexpr bool kHasQuickForm = true;
  using Quick = FtrlOf<C, true, true>;
  using FtrlOf<C, true, false>::FtrlOf;
  bool IsQuick() const { return this->power == C(0.5); }
};

template <class C>
struct AddSignRule {
  static constexpr int kSlots = 1;
  static constexpr const char* kHyper[] = {"lr", "alpha", "sign_decay", "beta"};
  C lr, alpha, decay, beta;
  AddSignRule(const C* h, UpdateFlags) : lr(h[0]), alpha(h[1]), decay(h[2]), beta(h[3]) {}
  SLUICE_HOST_DEVICE void operator()(C g, C* x) const {
    x[1] = x[1] * beta + g * (1 - beta);
    x[0] -= lr * (alpha + decay * SignOf(g) * SignOf(x[1])) * g;
  }
};

template <class C>
struct PowerSignRule {
  static constexpr int kSlots = 1;
  static constexpr const char* kHyper[] = {"lr", "logbase", "sign_decay", "beta"};
  C lr, beta, same, opposite;
  // The exponent has three values: signs agree, differ, or one is zero.
  PowerSignRule(const C* h, UpdateFlags)
      : lr(h[0]), beta(h[3]), same(std::exp(h[1] * h[2])), opposite(std::exp(-h[1] * h[2])) {}
  SLUICE_HOST_DEVICE void operator()(C g, C* x) const {
    x[1] = x[1] * beta + g * (1 - beta);
    const C agree = SignOf(g) * SignOf(x[1]);
    x[0] -= lr * (agree > C(0) ? same : (agree < C(0) ? opposite : C(1))) * g;
  }
};

}  // namespace sluice

#endif  // SLUICE_KERNELS_NN_TRAINING_RULES_H_
