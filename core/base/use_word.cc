#include "core/base/use_word.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

namespace sluice {
namespace {

constexpr int kSpins = 50;  // of about 20 ns

inline void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

// Sleeps while the word is as it was seen, marked as waited for. Whoever leaves last finds the mark and wakes all: the
// mark can only go while nobody is inside, and a word that has changed since does not let us sleep.
void UseWord::Park(uint32_t now) {
  if ((now & kWaiters) == 0 &&
      !word_.compare_exchange_strong(now, now | kWaiters, std::memory_order_relaxed, std::memory_order_relaxed)) {
    return;
  }
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word_), FUTEX_WAIT_PRIVATE, now | kWaiters, nullptr, nullptr, 0);
}

void UseWord::WaitToRead() {
  for (int i = 0;; ++i) {
    uint32_t now = word_.load(std::memory_order_relaxed);
    // Behind those who wait, unless nobody is inside any more.
    const bool free = (now & kWriter) == 0 && ((now & kWaiters) == 0 || now == kWaiters);
    if (free) {
      if (word_.compare_exchange_weak(now, now + kReader, std::memory_order_acquire, std::memory_order_relaxed)) return;
    } else if (i < kSpins) {
      Pause();
    } else {
      Park(now);
    }
  }
}

void UseWord::WaitToWrite() {
  for (int i = 0;; ++i) {
    uint32_t now = word_.load(std::memory_order_relaxed);
    if ((now & ~kWaiters) == 0) {
      if (word_.compare_exchange_weak(now, now | kWriter, std::memory_order_acquire, std::memory_order_relaxed)) return;
    } else if (i < kSpins) {
      Pause();
    } else {
      Park(now);
    }
  }
}

void UseWord::LastHasLeft() {
  uint32_t now = kWaiters;
  // Somebody who has come in meanwhile keeps the mark and wakes the others when he leaves.
  if (!word_.compare_exchange_strong(now, 0, std::memory_order_relaxed, std::memory_order_relaxed)) return;
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word_), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace sluice
