// The definitions of a program come before those of shared libraries, also for calls from other shared libraries.
#include "runtime/session/call_counter.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "absl/base/config.h"
#include "absl/synchronization/mutex.h"

namespace {

thread_local sluice::CallCounts counts;
thread_local bool watching = false;
std::atomic<void (*)(size_t)> watch{nullptr};

__attribute__((noinline)) void CountAllocation(size_t bytes) {
  ++counts.heap;
  void (*const f)(size_t) = watch.load(std::memory_order_relaxed);
  if (f == nullptr || watching) return;
  watching = true;
  f(bytes);
  watching = false;
}

// The definition after ours.
void* Real(const char* name) {
  void* f = dlsym(RTLD_NEXT, name);
  if (f == nullptr) {
    fprintf(stderr, "call_counter: there is no %s\n", name);
    abort();
  }
  return f;
}

#define SLUICE_TEXT_OF(x) #x
#define SLUICE_TEXT(x) SLUICE_TEXT_OF(x)

// A member of absl::Mutex, in the version of Abseil that this is compiled against.
void* RealOfMutex(const char* method) {
  char name[128];
#if ABSL_OPTION_USE_INLINE_NAMESPACE
  const char space[] = SLUICE_TEXT(ABSL_OPTION_INLINE_NAMESPACE_NAME);
  snprintf(name, sizeof(name), "_ZN4absl%zu%s5Mutex%s", sizeof(space) - 1, space, method);
#else
  snprintf(name, sizeof(name), "_ZN4absl5Mutex%s", method);
#endif
  return Real(name);
}

}  // namespace

namespace sluice {
CallCounts CallsOfThisThread() { return counts; }
void WatchAllocations(void (*f)(size_t)) { watch.store(f); }
}  // namespace sluice

extern "C" {

void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t n, size_t bytes);
void* __libc_realloc(void* p, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void* p);

void* malloc(size_t bytes) {
  CountAllocation(bytes);
  return __libc_malloc(bytes);
}
void* calloc(size_t n, size_t bytes) {
  CountAllocation(n * bytes);
  return __libc_calloc(n, bytes);
}
void* realloc(void* p, size_t bytes) {
  CountAllocation(bytes);
  return __libc_realloc(p, bytes);
}
void* memalign(size_t alignment, size_t bytes) {
  CountAllocation(bytes);
  return __libc_memalign(alignment, bytes);
}
void* aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }
int posix_memalign(void** p, size_t alignment, size_t bytes) {
  *p = memalign(alignment, bytes);
  return *p == nullptr ? ENOMEM : 0;
}
void free(void* p) {
  if (p != nullptr) ++counts.heap;
  __libc_free(p);
}

#define SLUICE_COUNT_LOCK(name, type)                                        \
  int name(type* lock) {                                                     \
    static auto* const real = reinterpret_cast<int (*)(type*)>(Real(#name)); \
    ++counts.locks;                                                          \
    return real(lock);                                                       \
  }
SLUICE_COUNT_LOCK(pthread_mutex_lock, pthread_mutex_t)
SLUICE_COUNT_LOCK(pthread_mutex_trylock, pthread_mutex_t)
SLUICE_COUNT_LOCK(pthread_rwlock_rdlock, pthread_rwlock_t)
SLUICE_COUNT_LOCK(pthread_rwlock_wrlock, pthread_rwlock_t)

long syscall(long number, ...) {
  static auto* const real = reinterpret_cast<long (*)(long, ...)>(Real("syscall"));
  if (number == SYS_futex) ++counts.waits;
  va_list list;
  va_start(list, number);
  long a[6];
  for (long& x : a) x = va_arg(list, long);
  va_end(list);
  return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

}  // extern "C"

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() {
  static auto* const real = reinterpret_cast<void (*)(Mutex*)>(RealOfMutex("4LockEv"));
  ++counts.locks;
  real(this);
}
void Mutex::ReaderLock() {
  static auto* const real = reinterpret_cast<void (*)(Mutex*)>(RealOfMutex("10ReaderLockEv"));
  ++counts.locks;
  real(this);
}
bool Mutex::TryLock() {
  static auto* const real = reinterpret_cast<bool (*)(Mutex*)>(RealOfMutex("7TryLockEv"));
  ++counts.locks;
  return real(this);
}
void Mutex::LockWhen(const Condition& c) {
  static auto* const real =
      reinterpret_cast<void (*)(Mutex*, const Condition&)>(RealOfMutex("8LockWhenERKNS0_9ConditionE"));
  ++counts.locks;
  real(this, c);
}

ABSL_NAMESPACE_END
}  // namespace absl
