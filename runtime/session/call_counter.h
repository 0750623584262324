// Counts what a thread does that may be slow or wait: calls of the heap, locks taken, calls of the kernel's futex.
//
//   CallCounts before = CallsOfThisThread();
//   ...
//   EXPECT_EQ(CallsOfThisThread().locks - before.locks, 0);
//
// A program that links this has the process's malloc family, POSIX and Abseil locks and syscall() replaced by functions
// that count and go on to the real ones; calls within the C library itself (stdio's locks) are not seen. Not for
// programs under a sanitizer, which replaces the same functions.
#ifndef SLUICE_RUNTIME_SESSION_CALL_COUNTER_H_
#define SLUICE_RUNTIME_SESSION_CALL_COUNTER_H_

#include <cstddef>
#include <cstdint>

namespace sluice {

struct CallCounts {
  int64_t heap = 0;   // malloc, calloc, realloc, free, operator new ...
  int64_t locks = 0;  // taken or tried: pthread mutexes and read-write locks (so std::mutex), absl::Mutex
  int64_t waits = 0;  // futex calls: waits for other threads, and waking them

  CallCounts operator-(const CallCounts& o) const { return {heap - o.heap, locks - o.locks, waits - o.waits}; }
};

CallCounts CallsOfThisThread();

// Called for every allocation of any thread, before it is made; what it allocates itself is not reported. Null:
// nothing.
void WatchAllocations(void (*watch)(size_t bytes));

}  // namespace sluice

#endif  // SLUICE_RUNTIME_SESSION_CALL_COUNTER_H_
