// A function object whose copies share one closure, like a std::function that counts references: copying and moving
// cost nothing and take no memory, the closure may hold what cannot be copied, and it goes with its last copy.
//
//   SharedFunction<void(absl::Status)> done = [tensors = std::move(tensors)](absl::Status s) { ... };
//
// The closure's memory is recycled (recycled_memory.h).
//
// Threads: as std::shared_ptr. Copies that are called at once call the same closure.
#ifndef SLUICE_CORE_BASE_SHARED_FUNCTION_H_
#define SLUICE_CORE_BASE_SHARED_FUNCTION_H_

#include <atomic>
#include <cstddef>
#include <functional>
#include <new>
#include <type_traits>
#include <utility>

#include "core/base/recycled_memory.h"

namespace sluice {

template <typename Signature>
class SharedFunction;

template <typename R, typename... Args>
class SharedFunction<R(Args...)> {
 public:
  SharedFunction() = default;
  SharedFunction(std::nullptr_t) {}  // NOLINT: as std::function
  // An empty std::function makes an empty one.
  SharedFunction(std::function<R(Args...)> f) {  // NOLINT: as std::function
    if (f) closure_ = Make(std::move(f));
  }
  template <typename F, typename = std::enable_if_t<!std::is_same<std::decay_t<F>, SharedFunction>::value &&
                                                    !std::is_same<std::decay_t<F>, std::function<R(Args...)>>::value &&
                                                    std::is_invocable_r<R, std::decay_t<F>&, Args...>::value>>
  SharedFunction(F&& f) : closure_(Make(std::forward<F>(f))) {}  // NOLINT: as std::function

  SharedFunction(const SharedFunction& other) : closure_(other.closure_) {
    if (closure_ != nullptr) closure_->references.fetch_add(1, std::memory_order_relaxed);
  }
  SharedFunction(SharedFunction&& other) noexcept : closure_(std::exchange(other.closure_, nullptr)) {}
  SharedFunction& operator=(SharedFunction other) noexcept {
    std::swap(closure_, other.closure_);
    return *this;
  }
  ~SharedFunction() {
    if (closure_ != nullptr && closure_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      closure_->destroy(closure_);
    }
  }

  explicit operator bool() const { return closure_ != nullptr; }
  // REQUIRES: not empty.
  R operator()(Args... args) const { return closure_->call(closure_, std::forward<Args>(args)...); }

  // For an interface that takes a std::function and promises to call it exactly once: such a function costs no memory,
  // and the closure goes after the call. It leaks when it is never called.
  static std::function<R(Args...)> ExactlyOnce(SharedFunction f) {
    Closure* closure = std::exchange(f.closure_, nullptr);
    return [closure](Args... args) -> R {
      SharedFunction once;
      once.closure_ = closure;
      return once(std::forward<Args>(args)...);
    };
  }

  friend bool operator==(const SharedFunction& f, std::nullptr_t) { return f.closure_ == nullptr; }
  friend bool operator!=(const SharedFunction& f, std::nullptr_t) { return f.closure_ != nullptr; }

 private:
  struct Closure {
    R (*call)(Closure*, Args&&...);
    void (*destroy)(Closure*);
    std::atomic<int> references{1};
  };
  template <typename F>
  struct Holding final : Closure {
    template <typename G>
    explicit Holding(G&& g) : f(std::forward<G>(g)) {}
    F f;
  };

  template <typename G>
  static Closure* Make(G&& g) {
    using H = Holding<std::decay_t<G>>;
    static_assert(alignof(H) <= alignof(std::max_align_t), "blocks are aligned as those of the heap");
    H* made = new (TakeRecycled(sizeof(H))) H(std::forward<G>(g));
    made->call = [](Closure* c, Args&&... args) -> R { return static_cast<H*>(c)->f(std::forward<Args>(args)...); };
    made->destroy = [](Closure* c) {
      static_cast<H*>(c)->~H();
      GiveRecycled(c, sizeof(H));
    };
    return made;
  }

  Closure* closure_ = nullptr;
};

}  // namespace sluice

#endif  // SLUICE_CORE_BASE_SHARED_FUNCTION_H_
