// What this machine can do at most, as one line of JSON: arithmetic in registers, and memory of each level.
//
//   sluice_limits      {"cpu": "...", "threads": 2, "isa": "avx512", "f32_gflops": [one thread, all], "levels": [...]}
//
// A level is {"name", "bytes": up to what working set it serves, "read_gbps": [one, all], "copy_gbps": [one, all]};
// bytes copied count twice, as read and as written. A figure is the best of many short trials, so that a busy machine
// says about the same as an idle one. It takes about two seconds.
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#define TARGET(isa) __attribute__((target(isa), noinline))
#else
#define TARGET(isa) __attribute__((noinline))
#endif

namespace {

using Clock = std::chrono::steady_clock;

double Seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

// --- Loops, once for each kind of vectors ---

// Independent chains of x * y + z; as many as hide the latency, and no more than there are registers.
#define FMA_LOOP(NAME, ISA, BYTES, CHAINS)                                          \
  TARGET(ISA) float NAME(int64_t rounds) {                                          \
    typedef float V __attribute__((vector_size(BYTES)));                            \
    V sum[CHAINS], x, y;                                                            \
    for (size_t i = 0; i < BYTES / sizeof(float); ++i) x[i] = 1e-9f, y[i] = 0.999f; \
    _Pragma("GCC unroll 32") for (int i = 0; i < CHAINS; ++i) sum[i] = x;           \
    for (int64_t r = 0; r < rounds; ++r) {                                          \
      _Pragma("GCC unroll 32") for (int i = 0; i < CHAINS; ++i) {                   \
        sum[i] = sum[i] * y + x;                                                    \
        asm volatile("" : "+v"(sum[i]));                                            \
      }                                                                             \
    }                                                                               \
    float total = 0;                                                                \
    _Pragma("GCC unroll 32") for (int i = 0; i < CHAINS; ++i) total += sum[i][0];   \
    return total;                                                                   \
  }

// Reads everything once; `bytes` is a multiple of 1024.
#define READ_LOOP(NAME, ISA, BYTES)                                                    \
  TARGET(ISA) int64_t NAME(const char* data, size_t bytes) {                           \
    typedef int64_t V __attribute__((vector_size(BYTES)));                             \
    V sum[8] = {};                                                                     \
    for (size_t at = 0; at < bytes; at += 8 * BYTES) {                                 \
      _Pragma("GCC unroll 8") for (int i = 0; i < 8; ++i) {                            \
        sum[i] |= *reinterpret_cast<const V*>(data + at + i * BYTES);                  \
      }                                                                                \
    }                                                                                  \
    return (sum[0] | sum[1] | sum[2] | sum[3] | sum[4] | sum[5] | sum[6] | sum[7])[0]; \
  }

FMA_LOOP(FmaBaseline, "sse2", 16, 12)
READ_LOOP(ReadBaseline, "sse2", 16)
#if defined(__x86_64__)
FMA_LOOP(FmaAvx2, "avx2,fma", 32, 12)
READ_LOOP(ReadAvx2, "avx2,fma", 32)
FMA_LOOP(FmaAvx512, "avx512f,fma", 64, 24)
READ_LOOP(ReadAvx512, "avx512f,fma", 64)
#endif

struct Loops {
  const char* isa;
  double flops;  // of one round of `fma`
  float (*fma)(int64_t rounds);
  int64_t (*read)(const char* data, size_t bytes);
};

Loops Choose() {
#if defined(__x86_64__)
  const char* asked = std::getenv("SLUICE_ISA");
  const std::string limit = asked == nullptr ? "" : asked;
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && limit != "baseline";
  if (avx2 && __builtin_cpu_supports("avx512f") && limit != "avx2") {
    return {"avx512", 2.0 * 24 * 16, FmaAvx512, ReadAvx512};
  }
  if (avx2) return {"avx2", 2.0 * 12 * 8, FmaAvx2, ReadAvx2};
#endif
  return {"baseline", 2.0 * 12 * 4, FmaBaseline, ReadBaseline};
}

// --- Trials ---

std::atomic<int64_t> sink{0};  // keeps results from being optimised away

// Work per second of `threads` threads that each do `work` by calling `run(thread)` at once: the best of several
// trials.
double Rate(int threads, double work, const std::function<void(int)>& run) {
  constexpr double kEnough = 0.12;  // seconds, of all trials together
  constexpr int kTrials = 12;
  double best = 0, spent = 0;
  for (int trial = 0; trial < kTrials || spent < kEnough; ++trial) {
    std::vector<Clock::time_point> begin(threads), end(threads);
    std::atomic<int> ready{0};
    auto body = [&](int thread) {
      ready.fetch_add(1);
      while (ready.load() < threads) {
        if (threads > 1) std::this_thread::yield();
      }
      begin[thread] = Clock::now();
      run(thread);
      end[thread] = Clock::now();
    };
    std::vector<std::thread> others;
    for (int t = 1; t < threads; ++t) others.emplace_back(body, t);
    body(0);
    for (std::thread& t : others) t.join();
    const double seconds =
        Seconds(*std::max_element(end.begin(), end.end()) - *std::min_element(begin.begin(), begin.end()));
    best = std::max(best, threads * work / seconds);
    spent += seconds;
    if (trial > 1000) break;
  }
  return best;
}

double Gflops(const Loops& loops, int threads) {
  constexpr int64_t kRounds = 20000;
  return 1e-9 *
         Rate(threads, loops.flops * kRounds, [&](int) { sink.fetch_add(static_cast<int64_t>(loops.fma(kRounds))); });
}

struct Level {
  std::string name;
  size_t bytes;    // the largest working set that it serves
  size_t trial;    // the working set of a trial, of all threads together
  bool is_shared;  // by all threads; otherwise each has its own
};

// The working set of each thread, touched, on a page of its own.
std::vector<std::unique_ptr<char, decltype(&std::free)>> Buffers(int threads, size_t bytes) {
  std::vector<std::unique_ptr<char, decltype(&std::free)>> buffers;
  for (int t = 0; t < threads; ++t) {
    buffers.emplace_back(static_cast<char*>(std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096)), &std::free);
    if (buffers.back() == nullptr) {
      std::fprintf(stderr, "sluice_limits: no memory for %zu bytes\n", bytes);
      std::exit(1);
    }
    std::memset(buffers.back().get(), t + 1, bytes);
  }
  return buffers;
}

double ReadGbps(const Loops& loops, int threads, size_t bytes) {
  const auto buffers = Buffers(threads, bytes);
  const int repeats = static_cast<int>(std::max<size_t>(1, (size_t{8} << 20) / bytes));
  return 1e-9 * Rate(threads, static_cast<double>(bytes) * repeats, [&](int t) {
           for (int r = 0; r < repeats; ++r) sink.fetch_add(loops.read(buffers[t].get(), bytes));
         });
}

double CopyGbps(int threads, size_t bytes) {
  const size_t half = bytes / 2 / 1024 * 1024;
  const auto buffers = Buffers(threads, bytes);
  const int repeats = static_cast<int>(std::max<size_t>(1, (size_t{8} << 20) / bytes));
  return 1e-9 * Rate(threads, 2.0 * static_cast<double>(half) * repeats, [&](int t) {
           for (int r = 0; r < repeats; ++r) {
             std::memcpy(buffers[t].get() + half, buffers[t].get(), half);
             asm volatile("" : : "r"(buffers[t].get()) : "memory");
           }
         });
}

// Bytes of the data cache of a level, as one CPU sees it. sysconf() adds up what a virtual machine cannot use.
size_t CacheBytes(int level, size_t otherwise) {
  for (int i = 0; i < 8; ++i) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i) + "/";
    int found = 0;
    std::string type;
    size_t size = 0;
    char unit = 0;
    std::ifstream(folder + "level") >> found;
    std::ifstream(folder + "type") >> type;
    std::ifstream(folder + "size") >> size >> unit;
    if (found != level || type == "Instruction" || size == 0) continue;
    return unit == 'M' ? size << 20 : unit == 'K' ? size << 10 : size;
  }
  return otherwise;
}

std::string CpuName() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    std::string name = line.substr(line.find(':') + 2);
    std::string safe;
    for (char c : name) {
      if (c >= ' ' && c < 127 && c != '"' && c != '\\') safe += c;
    }
    return safe;
  }
  return "unknown";
}

}  // namespace

int main() {
  cpu_set_t allowed;
  const int threads = sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ? std::max(1, CPU_COUNT(&allowed)) : 1;
  const Loops loops = Choose();
  const size_t l1 = CacheBytes(1, 32 << 10), l2 = CacheBytes(2, 1 << 20), l3 = CacheBytes(3, 8 << 20);
  const size_t beyond = std::min<size_t>(std::max<size_t>(size_t{128} << 20, 4 * l3), size_t{1} << 30);
  const std::vector<Level> levels = {
      {"L1", l1, l1 / 2, false}, {"L2", l2, l2 / 2, false}, {"L3", l3, l3 / 4, true}, {"memory", 0, beyond, true}};
  const double one = Gflops(loops, 1);
  std::printf("{\"cpu\": \"%s\", \"threads\": %d, \"isa\": \"%s\", \"f32_gflops\": [%.1f, %.1f], \"levels\": [",
              CpuName().c_str(), threads, loops.isa, one, std::max(one, Gflops(loops, threads)));
  for (const Level& level : levels) {
    double read[2], copy[2];
    for (int all = 0; all < 2; ++all) {
      const int n = all ? threads : 1;
      const size_t bytes = std::max<size_t>(4096, level.trial / (level.is_shared ? n : 1) / 4096 * 4096);
      read[all] = ReadGbps(loops, n, bytes);
      copy[all] = CopyGbps(n, bytes);
    }
    read[1] = std::max(read[0], read[1]);  // another program may have had the other CPU
    copy[1] = std::max(copy[0], copy[1]);
    std::printf("%s{\"name\": \"%s\", \"bytes\": %zu, \"read_gbps\": [%.1f, %.1f], \"copy_gbps\": [%.1f, %.1f]}",
                level.name == "L1" ? "" : ", ", level.name.c_str(), level.bytes, read[0], read[1], copy[0], copy[1]);
  }
  std::printf("]}\n");
  return 0;
}
