// Intrusive reference counting for objects shared by tensors, plans and steps.
//
//   class Variable : public RefCounted { ... };
//   RefPtr<Variable> v = MakeRef<Variable>(args);
//
// Threads: the count is atomic; the object guards its own state.
#ifndef SLUICE_CORE_BASE_REF_COUNTED_H_
#define SLUICE_CORE_BASE_REF_COUNTED_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace sluice {

class RefCounted {
 public:
  RefCounted() = default;
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;

  void Ref() const { count_.fetch_add(1, std::memory_order_relaxed); }
  void Unref() const {
    if (count_.load(std::memory_order_acquire) == 1 || count_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      Destroy();
    }
  }
  // True when the caller holds the only reference, so nobody else can see a change of the object.
  bool IsUnique() const { return count_.load(std::memory_order_acquire) == 1; }
  int32_t ref_count() const { return count_.load(std::memory_order_acquire); }

 protected:
  virtual ~RefCounted() = default;
  // Called when the last reference goes; pooled objects override it.
  virtual void Destroy() const { delete this; }

 private:
  mutable std::atomic<int32_t> count_{1};
};

template <typename T>
class RefPtr {
 public:
  RefPtr() = default;
  RefPtr(std::nullptr_t) {}  // NOLINT
  RefPtr(const RefPtr& other) : p_(other.p_) {
    if (p_) p_->Ref();
  }
  RefPtr(RefPtr&& other) noexcept : p_(std::exchange(other.p_, nullptr)) {}
  template <typename U>
  RefPtr(RefPtr<U> other) : p_(other.release()) {}  // NOLINT
  ~RefPtr() {
    if (p_) p_->Unref();
  }
  RefPtr& operator=(RefPtr other) noexcept {
    std::swap(p_, other.p_);
    return *this;
  }

  // Takes over the caller's reference.
  static RefPtr Adopt(T* p) {
    RefPtr r;
    r.p_ = p;
    return r;
  }
  // Adds a reference of its own.
  static RefPtr Share(T* p) {
    if (p) p->Ref();
    return Adopt(p);
  }

  T* get() const { return p_; }
  T* operator->() const { return p_; }
  T& operator*() const { return *p_; }
  explicit operator bool() const { return p_ != nullptr; }
  T* release() { return std::exchange(p_, nullptr); }
  void reset() { RefPtr().swap(*this); }
  void swap(RefPtr& other) { std::swap(p_, other.p_); }
  friend bool operator==(const RefPtr& a, const RefPtr& b) { return a.p_ == b.p_; }
  friend bool operator!=(const RefPtr& a, const RefPtr& b) { return a.p_ != b.p_; }

 private:
  T* p_ = nullptr;
};

template <typename T, typename... Args>
RefPtr<T> MakeRef(Args&&... args) {
  return RefPtr<T>::Adopt(new T(std::forward<Args>(args)...));
}

}  // namespace sluice

#endif  // SLUICE_CORE_BASE_REF_COUNTED_H_
