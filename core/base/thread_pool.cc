#include "core/base/thread_pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace sluice {
namespace {

constexpr double kInlineNs = 10e3;   // less work than this is not worth another core's cache lines
constexpr double kWakeNs = 100e3;    // less work than this is not worth waking a parked thread (24 us each way)
constexpr double kGrainNs = 5e3;     // least work of a piece
constexpr int kPiecesPerThread = 4;  // evens out threads of different speed
constexpr int64_t kFirstSpinNs = 50'000;
constexpr int64_t kLongestSpinNs = 200'000;
constexpr int kSlots = 64;  // loops that can be shared at once; one more runs on its caller alone
constexpr absl::Duration kIdleBlockingThread = absl::Seconds(10);

inline void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

int64_t NowNs() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * int64_t{1'000'000'000} + t.tv_nsec;
}

void FutexWait(std::atomic<uint32_t>* word, uint32_t expected) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}
void FutexWake(std::atomic<uint32_t>* word, int count) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

// The limit of the control group, in CPUs, or 0.
double QuotaCpus() {
  double quota = 0, period = 0;
  if (FILE* f = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
    if (std::fscanf(f, "%lf %lf", &quota, &period) != 2) quota = 0;  // "max 100000" does not scan
    std::fclose(f);
  } else if (FILE* q = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r")) {
    if (std::fscanf(q, "%lf", &quota) != 1) quota = 0;
    std::fclose(q);
    if (FILE* p = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r")) {
      if (std::fscanf(p, "%lf", &period) != 1) period = 0;
      std::fclose(p);
    }
  }
  return quota > 0 && period > 0 ? quota / period : 0;
}

int UsableCpus() {
  cpu_set_t set;
  int cpus = 1;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    cpus = CPU_COUNT(&set);
  } else {
    cpus = static_cast<int>(std::thread::hardware_concurrency());
  }
  double quota = QuotaCpus();
  if (quota > 0) cpus = std::min(cpus, static_cast<int>(quota + 0.999));
  return std::max(1, cpus);
}

// What waits to be run, oldest first. Keeps its memory, unlike a deque, which takes and frees blocks as it moves on.
class WorkQueue {
 public:
  bool empty() const { return count_ == 0; }
  size_t size() const { return count_; }
  std::function<void()>& front() { return ring_[first_]; }
  void push_back(std::function<void()> work) {
    if (count_ == ring_.size()) {
      std::vector<std::function<void()>> larger(std::max<size_t>(16, 2 * count_));
      for (size_t i = 0; i < count_; ++i) larger[i] = std::move(ring_[(first_ + i) % ring_.size()]);
      ring_ = std::move(larger);
      first_ = 0;
    }
    ring_[(first_ + count_++) % ring_.size()] = std::move(work);
  }
  void pop_front() {
    ring_[first_] = nullptr;
    first_ = (first_ + 1) % ring_.size();
    --count_;
  }

 private:
  std::vector<std::function<void()>> ring_;
  size_t first_ = 0;
  size_t count_ = 0;
};

// A loop that threads may join. Lives in the pool, so a thread that comes late never touches freed memory: it enters
// `users` before it looks at `open`, and the owner closes before it waits for `users` to be empty.
struct alignas(128) Slot {
  std::atomic<int> users{0};
  std::atomic<bool> open{false};
  const absl::FunctionRef<void(int64_t, int64_t)>* body = nullptr;
  int64_t total = 0;
  int64_t piece = 0;
  int64_t pieces = 0;
  // Pieces taken from the front, and, 32 bits up, from the back.
  alignas(64) std::atomic<uint64_t> taken{0};

  // The owner goes forward and every other worker backward, so that loops over the same data, one after the other, find
  // most of it in the caches of the core on which they left it.
  bool RunOne(bool from_back) {
    const uint64_t before = taken.fetch_add(from_back ? uint64_t{1} << 32 : 1, std::memory_order_relaxed);
    const int64_t front = static_cast<int64_t>(before & 0xffffffff), back = static_cast<int64_t>(before >> 32);
    if (front + back >= pieces) return false;
    const int64_t begin = (from_back ? pieces - 1 - back : front) * piece;
    (*body)(begin, std::min(total, begin + piece));
    return true;
  }
};

}  // namespace

struct ThreadPool::Impl {
  explicit Impl(int n) : parallelism(n), spin(n <= UsableCpus()) {
    for (int i = 0; i < n - 1; ++i) workers.emplace_back([this, i] { WorkerLoop(i); });
  }

  ~Impl() {
    stopping.store(true);
    Wake(parallelism);
    for (std::thread& w : workers) w.join();
    while (RunQueued()) {
    }
    absl::MutexLock lock(&blocking_mu);
    while (!blocking_queue.empty() || blocking_busy > 0) blocking_idle_again.Wait(&blocking_mu);
    blocking_stop = true;
    blocking_wake.SignalAll();
    while (blocking_threads > 0) blocking_idle_again.Wait(&blocking_mu);
  }

  // --- Workers ---

  bool HasWork() const {
    return open_slots.load(std::memory_order_seq_cst) != 0 || queued.load(std::memory_order_seq_cst) > 0;
  }

  void Wake(int count) {
    if (parked.load(std::memory_order_seq_cst) == 0) return;
    epoch.fetch_add(1, std::memory_order_seq_cst);
    FutexWake(&epoch, count);
  }

  bool RunQueued() {
    if (queued.load(std::memory_order_relaxed) == 0) return false;
    std::function<void()> work;
    {
      absl::MutexLock lock(&queue_mu);
      if (queue.empty()) return false;
      work = std::move(queue.front());
      queue.pop_front();
      queued.fetch_sub(1, std::memory_order_relaxed);
    }
    work();
    return true;
  }

  bool JoinLoops(int worker) {
    uint64_t mask = open_slots.load(std::memory_order_acquire);
    bool did = false;
    while (mask != 0) {
      int i = __builtin_ctzll(mask);
      mask &= mask - 1;
      Slot& s = slots[i];
      s.users.fetch_add(1, std::memory_order_seq_cst);
      if (s.open.load(std::memory_order_seq_cst)) {
        while (s.RunOne(worker % 2 == 0)) did = true;
        open_slots.fetch_and(~(uint64_t{1} << i), std::memory_order_relaxed);
      }
      s.users.fetch_sub(1, std::memory_order_release);
    }
    return did;
  }

  void WorkerLoop(int index) {
    pthread_setname_np(pthread_self(), ("sluice-w" + std::to_string(index)).c_str());
    int64_t window = kFirstSpinNs;
    while (true) {
      if (JoinLoops(index) || RunQueued()) continue;
      if (stopping.load(std::memory_order_acquire)) return;
      bool found = false;
      if (spin && window > 0) {
        int64_t start = NowNs(), last = start;
        while (last - start < window) {
          for (int i = 0; i < 32 && !(found = HasWork()); ++i) Pause();
          if (found || stopping.load(std::memory_order_relaxed)) break;
          last = NowNs();
        }
        window = found ? std::min(window * 2, kLongestSpinNs) : std::max<int64_t>(window / 2, 1000);
      }
      if (found) continue;
      parked.fetch_add(1, std::memory_order_seq_cst);
      uint32_t e = epoch.load(std::memory_order_seq_cst);
      if (!HasWork() && !stopping.load(std::memory_order_seq_cst)) {
        FutexWait(&epoch, e);
        window = std::max(window, kFirstSpinNs / 2);
      }
      parked.fetch_sub(1, std::memory_order_seq_cst);
    }
  }

  void ShareLoop(int64_t total, int64_t piece, int64_t pieces, double work_ns,
                 const absl::FunctionRef<void(int64_t, int64_t)>& body) {
    int index = -1;
    uint64_t free = free_slots.load(std::memory_order_relaxed);
    while (free != 0) {
      int i = __builtin_ctzll(free);
      if (free_slots.compare_exchange_weak(free, free & ~(uint64_t{1} << i), std::memory_order_acquire)) {
        index = i;
        break;
      }
    }
    if (index < 0) {
      for (int64_t b = 0; b < total; b += piece) body(b, std::min(total, b + piece));
      return;
    }
    Slot& s = slots[index];
    s.body = &body;
    s.total = total;
    s.piece = piece;
    s.pieces = pieces;
    s.taken.store(0, std::memory_order_relaxed);
    s.open.store(true, std::memory_order_seq_cst);
    open_slots.fetch_or(uint64_t{1} << index, std::memory_order_seq_cst);
    if (work_ns >= kWakeNs) Wake(static_cast<int>(std::min<int64_t>(pieces - 1, parallelism - 1)));
    while (s.RunOne(/*from_back=*/false)) {
    }
    open_slots.fetch_and(~(uint64_t{1} << index), std::memory_order_relaxed);
    s.open.store(false, std::memory_order_seq_cst);
    for (int i = 0; s.users.load(std::memory_order_seq_cst) != 0; ++i) {
      if (i < 2000) {
        Pause();
      } else {
        sched_yield();
      }
    }
    free_slots.fetch_or(uint64_t{1} << index, std::memory_order_release);
  }

  // --- Threads for work that may block ---

  void BlockingLoop() {
    pthread_setname_np(pthread_self(), "sluice-b");
    blocking_mu.Lock();
    while (true) {
      if (blocking_queue.empty()) {
        if (blocking_stop) break;
        ++blocking_idle;
        bool timed_out = blocking_wake.WaitWithTimeout(&blocking_mu, kIdleBlockingThread);
        --blocking_idle;
        if (timed_out && blocking_queue.empty()) break;
        continue;
      }
      std::function<void()> work = std::move(blocking_queue.front());
      blocking_queue.pop_front();
      ++blocking_busy;
      blocking_mu.Unlock();
      work();
      work = nullptr;
      blocking_mu.Lock();
      --blocking_busy;
      blocking_idle_again.SignalAll();
    }
    --blocking_threads;
    blocking_idle_again.SignalAll();
    blocking_mu.Unlock();
  }

  const int parallelism;
  const bool spin;  // more threads than CPUs must not spin at each other's expense
  alignas(128) std::atomic<uint64_t> open_slots{0};
  std::atomic<int64_t> queued{0};
  alignas(128) std::atomic<uint64_t> free_slots{~uint64_t{0}};
  alignas(128) std::atomic<int> parked{0};
  std::atomic<uint32_t> epoch{0};
  std::atomic<bool> stopping{false};
  Slot slots[kSlots];
  absl::Mutex queue_mu;
  WorkQueue queue ABSL_GUARDED_BY(queue_mu);
  std::vector<std::thread> workers;

  absl::Mutex blocking_mu;
  absl::CondVar blocking_wake;
  absl::CondVar blocking_idle_again;  // work or a thread has ended; for the destructor
  WorkQueue blocking_queue ABSL_GUARDED_BY(blocking_mu);
  int blocking_idle ABSL_GUARDED_BY(blocking_mu) = 0;
  int blocking_busy ABSL_GUARDED_BY(blocking_mu) = 0;
  int blocking_threads ABSL_GUARDED_BY(blocking_mu) = 0;
  bool blocking_stop ABSL_GUARDED_BY(blocking_mu) = false;
};

ThreadPool::ThreadPool(int parallelism) : impl_(std::make_unique<Impl>(parallelism > 0 ? parallelism : UsableCpus())) {}

ThreadPool::~ThreadPool() = default;

int ThreadPool::parallelism() const { return impl_->parallelism; }

void ThreadPool::Schedule(std::function<void()> work) {
  if (impl_->parallelism == 1) {
    work();
    return;
  }
  {
    absl::MutexLock lock(&impl_->queue_mu);
    impl_->queue.push_back(std::move(work));
    impl_->queued.fetch_add(1, std::memory_order_seq_cst);
  }
  impl_->Wake(1);
}

void ThreadPool::ScheduleBlocking(std::function<void()> work) {
  Impl* p = impl_.get();
  absl::MutexLock lock(&p->blocking_mu);
  p->blocking_queue.push_back(std::move(work));
  if (p->blocking_idle >= static_cast<int>(p->blocking_queue.size())) {
    p->blocking_wake.Signal();
  } else {
    ++p->blocking_threads;
    std::thread([p] { p->BlockingLoop(); }).detach();
  }
}

void ThreadPool::ParallelFor(int64_t total, double cost_ns, absl::FunctionRef<void(int64_t, int64_t)> body,
                             int64_t align) {
  if (total <= 0) return;
  const double work_ns = static_cast<double>(total) * cost_ns;
  if (impl_->parallelism == 1 || total <= align || work_ns < kInlineNs) {
    body(0, total);
    return;
  }
  int64_t most =
      std::min<int64_t>(int64_t{impl_->parallelism} * kPiecesPerThread, static_cast<int64_t>(work_ns / kGrainNs) + 1);
  int64_t piece = (total + most - 1) / most;
  piece = (piece + align - 1) / align * align;
  int64_t pieces = (total + piece - 1) / piece;
  if (pieces <= 1) {
    body(0, total);
    return;
  }
  impl_->ShareLoop(total, piece, pieces, work_ns, body);
}

}  // namespace sluice
