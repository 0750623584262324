// Tells ThreadSanitizer about Abseil's locks, which Debian's library was built without telling it.
//
// Under --config=tsan the linker sends calls of the functions below to __wrap_NAME, which annotates around __real_NAME.
// Without this every use of absl::Mutex would be reported as a race. Conditions that the library evaluates while it
// holds a lock are covered by suppressions.txt. The list of names is in .bazelrc.

#include <sanitizer/tsan_interface.h>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

using absl::BlockingCounter;
using absl::Condition;
using absl::CondVar;
using absl::Duration;
using absl::Mutex;
using absl::Notification;
using absl::Time;

namespace {

// `lock` orders what came before Release on one thread before what follows Acquire on another.
void Acquire(const void* lock) { __tsan_acquire(const_cast<void*>(lock)); }
void Release(const void* lock) { __tsan_release(const_cast<void*>(lock)); }

}  // namespace

extern "C" {

#define SLUICE_ACQUIRE(name, type) \
  void __real_##name(type*);       \
  void __wrap_##name(type* lock) { \
    __real_##name(lock);           \
    Acquire(lock);                 \
  }
#define SLUICE_TRY(name, type)             \
  bool __real_##name(type*);               \
  bool __wrap_##name(type* lock) {         \
    const bool done = __real_##name(lock); \
    if (done) Acquire(lock);               \
    return done;                           \
  }
#define SLUICE_RELEASE(name, type) \
  void __real_##name(type*);       \
  void __wrap_##name(type* lock) { \
    Release(lock);                 \
    __real_##name(lock);           \
  }

SLUICE_ACQUIRE(_ZN4absl7debian35Mutex4LockEv, Mutex)
SLUICE_ACQUIRE(_ZN4absl7debian35Mutex10ReaderLockEv, Mutex)
SLUICE_TRY(_ZN4absl7debian35Mutex7TryLockEv, Mutex)
SLUICE_TRY(_ZN4absl7debian35Mutex13ReaderTryLockEv, Mutex)
SLUICE_RELEASE(_ZN4absl7debian35Mutex6UnlockEv, Mutex)
SLUICE_RELEASE(_ZN4absl7debian35Mutex12ReaderUnlockEv, Mutex)
SLUICE_RELEASE(_ZN4absl7debian312Notification6NotifyEv, Notification)
SLUICE_ACQUIRE(_ZNK4absl7debian312Notification19WaitForNotificationEv, const Notification)
SLUICE_ACQUIRE(_ZN4absl7debian315BlockingCounter4WaitEv, BlockingCounter)

bool __real__ZN4absl7debian315BlockingCounter14DecrementCountEv(BlockingCounter*);
bool __wrap__ZN4absl7debian315BlockingCounter14DecrementCountEv(BlockingCounter* counter) {
  Release(counter);
  return __real__ZN4absl7debian315BlockingCounter14DecrementCountEv(counter);
}

// A wait for a condition: gives the lock `mu` up, if it was held, and holds it on return.
#define SLUICE_WAIT(name, result, parameters, mu, arguments) \
  result __real_##name parameters;                           \
  result __wrap_##name parameters {                          \
    struct Hold {                                            \
      const void* lock;                                      \
      ~Hold() { Acquire(lock); }                             \
    } hold{mu};                                              \
    Release(mu);                                             \
    return __real_##name arguments;                          \
  }

SLUICE_WAIT(_ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE, void, (Mutex * m, const Condition& c), m, (m, c))
SLUICE_WAIT(_ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE, bool,
            (Mutex * m, const Condition& c, Duration d), m, (m, c, d))
SLUICE_WAIT(_ZN4absl7debian35Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE, bool,
            (Mutex * m, const Condition& c, Time t), m, (m, c, t))
SLUICE_WAIT(_ZN4absl7debian37CondVar4WaitEPNS0_5MutexE, void, (CondVar * v, Mutex* m), m, (v, m))
SLUICE_WAIT(_ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE, bool,
            (CondVar * v, Mutex* m, Duration d), m, (v, m, d))
SLUICE_WAIT(_ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE, bool, (CondVar * v, Mutex* m, Time t), m,
            (v, m, t))

// Takes the lock (or sees the notification) when a condition holds; the lock is held on return in any case.
#define SLUICE_TAKE(name, result, parameters, lock, arguments) \
  result __real_##name parameters;                             \
  result __wrap_##name parameters {                            \
    struct Hold {                                              \
      const void* taken;                                       \
      ~Hold() { Acquire(taken); }                              \
    } hold{lock};                                              \
    return __real_##name arguments;                            \
  }

SLUICE_TAKE(_ZN4absl7debian35Mutex8LockWhenERKNS0_9ConditionE, void, (Mutex * m, const Condition& c), m, (m, c))
SLUICE_TAKE(_ZN4absl7debian35Mutex19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE, bool,
            (Mutex * m, const Condition& c, Duration d), m, (m, c, d))
SLUICE_TAKE(_ZN4absl7debian35Mutex20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE, bool,
            (Mutex * m, const Condition& c, Time t), m, (m, c, t))
SLUICE_TAKE(_ZN4absl7debian35Mutex14ReaderLockWhenERKNS0_9ConditionE, void, (Mutex * m, const Condition& c), m, (m, c))
SLUICE_TAKE(_ZNK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE, bool,
            (const Notification* n, Duration d), n, (n, d))
SLUICE_TAKE(_ZNK4absl7debian312Notification31WaitForNotificationWithDeadlineENS0_4TimeE, bool,
            (const Notification* n, Time t), n, (n, t))

}  // extern "C"
