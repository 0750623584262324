// Who uses a value: any number of threads that read it for a moment, or one that changes it. One word, no mutex.
//
//   UseWord use;
//   use.BeginRead();  ... copy a reference ...  use.EndRead();
//   use.BeginWrite(); ... change the value ...  use.EndWrite();
//
// Where nobody is in the way, beginning and ending are one atomic instruction each, without a call. Else who comes
// spins for about a microsecond and then parks. Once somebody waits, new readers wait behind him, so a writer is not
// starved.
//
// Threads: any. Who ends is who began. What was written before an End is seen after the next Begin (acquire, release).
// Not recursive: a thread that reads must not begin again before it ended.
#ifndef SLUICE_CORE_BASE_USE_WORD_H_
#define SLUICE_CORE_BASE_USE_WORD_H_

#include <atomic>
#include <cstdint>

namespace sluice {

class UseWord {
 public:
  UseWord() = default;
  UseWord(const UseWord&) = delete;
  UseWord& operator=(const UseWord&) = delete;

  void BeginRead() {
    uint32_t now = word_.load(std::memory_order_relaxed);
    if ((now & (kWriter | kWaiters)) == 0 &&
        word_.compare_exchange_strong(now, now + kReader, std::memory_order_acquire, std::memory_order_relaxed)) {
      return;
    }
    WaitToRead();
  }
  void EndRead() {
    if (word_.fetch_sub(kReader, std::memory_order_release) == (kReader | kWaiters)) LastHasLeft();
  }
  void BeginWrite() {
    uint32_t now = 0;
    if (!word_.compare_exchange_strong(now, kWriter, std::memory_order_acquire, std::memory_order_relaxed))
      WaitToWrite();
  }
  void EndWrite() {
    if (word_.fetch_sub(kWriter, std::memory_order_release) == (kWriter | kWaiters)) LastHasLeft();
  }

 private:
  static constexpr uint32_t kWriter = 1, kWaiters = 2, kReader = 4;  // the bits above count readers

  void WaitToRead();
  void WaitToWrite();
  void LastHasLeft();
  void Park(uint32_t now);

  std::atomic<uint32_t> word_{0};
};

}  // namespace sluice

#endif  // SLUICE_CORE_BASE_USE_WORD_H_
