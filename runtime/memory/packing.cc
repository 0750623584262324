#include "runtime/memory/packing.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

namespace sluice {
namespace {

// Largest first is quadratic: many regions must have more to gain.
constexpr size_t kMostForLargestFirst = 4000;
constexpr size_t kManyRegions = 1000;
constexpr int64_t kGainOfMany = 20;  // a twentieth

int64_t RoundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

int64_t MostAlive(const std::vector<Region>& regions) {
  std::vector<std::pair<int, int64_t>> changes;
  for (const Region& r : regions) {
    changes.emplace_back(r.begin * 2, r.bytes);
    changes.emplace_back(r.end * 2 + 1, -r.bytes);
  }
  std::sort(changes.begin(), changes.end());
  int64_t alive = 0, most = 0;
  for (const auto& [time, bytes] : changes) most = std::max(most, alive += bytes);
  return most;
}

// Places regions in the given order, each into the tightest gap between those already placed that live at the same
// time.
std::vector<int64_t> PlaceInOrder(const std::vector<Region>& regions, const std::vector<int>& order) {
  std::vector<int64_t> offsets(regions.size(), 0);
  std::vector<int> placed;  // by offset
  for (int k : order) {
    const Region& r = regions[k];
    int64_t end_of_last = 0, best = -1, best_gap = INT64_MAX;
    for (int p : placed) {
      const Region& q = regions[p];
      if (q.end < r.begin || r.end < q.begin) continue;
      int64_t gap = offsets[p] - end_of_last;
      if (gap >= r.bytes && gap < best_gap) {
        best = end_of_last;
        best_gap = gap;
      }
      end_of_last = std::max(end_of_last, offsets[p] + q.bytes);
    }
    offsets[k] = best >= 0 ? best : end_of_last;
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), k, [&](int a, int b) { return offsets[a] < offsets[b]; }), k);
  }
  return offsets;
}

// A free list over time: n log n.
std::vector<int64_t> PlaceByTime(const std::vector<Region>& regions) {
  std::vector<int> by_begin(regions.size()), by_end(regions.size());
  std::iota(by_begin.begin(), by_begin.end(), 0);
  by_end = by_begin;
  std::stable_sort(by_begin.begin(), by_begin.end(), [&](int a, int b) { return regions[a].begin < regions[b].begin; });
  std::stable_sort(by_end.begin(), by_end.end(), [&](int a, int b) { return regions[a].end < regions[b].end; });
  std::vector<int64_t> offsets(regions.size(), 0);
  std::map<int64_t, int64_t> free;  // offset -> bytes
  int64_t top = 0;
  size_t next_end = 0;
  for (int k : by_begin) {
    const Region& r = regions[k];
    for (; next_end < by_end.size() && regions[by_end[next_end]].end < r.begin; ++next_end) {
      int gone = by_end[next_end];
      auto it = free.emplace(offsets[gone], regions[gone].bytes).first;
      auto after = std::next(it);
      if (after != free.end() && it->first + it->second == after->first) {
        it->second += after->second;
        free.erase(after);
      }
      if (it != free.begin()) {
        auto before = std::prev(it);
        if (before->first + before->second == it->first) {
          before->second += it->second;
          free.erase(it);
        }
      }
    }
    auto best = free.end();
    for (auto it = free.begin(); it != free.end(); ++it) {
      if (it->second >= r.bytes && (best == free.end() || it->second < best->second)) best = it;
    }
    if (best != free.end()) {
      offsets[k] = best->first;
      int64_t rest = best->second - r.bytes;
      int64_t at = best->first + r.bytes;
      free.erase(best);
      if (rest > 0) free.emplace(at, rest);
      continue;
    }
    // Grow, starting in a free piece at the top when there is one.
    if (!free.empty() && std::prev(free.end())->first + std::prev(free.end())->second == top) {
      offsets[k] = std::prev(free.end())->first;
      free.erase(std::prev(free.end()));
    } else {
      offsets[k] = top;
    }
    top = offsets[k] + r.bytes;
  }
  return offsets;
}

int64_t Total(const std::vector<Region>& regions, const std::vector<int64_t>& offsets) {
  int64_t total = 0;
  for (size_t i = 0; i < regions.size(); ++i) total = std::max(total, offsets[i] + regions[i].bytes);
  return total;
}

}  // namespace

Packing PackRegions(absl::Span<const Region> given, int64_t alignment) {
  std::vector<Region> regions(given.begin(), given.end());
  for (Region& r : regions) r.bytes = RoundUp(r.bytes, alignment);
  Packing packing;
  packing.lower_bound = MostAlive(regions);
  packing.offsets = PlaceByTime(regions);
  packing.total = Total(regions, packing.offsets);
  const int64_t enough = regions.size() <= kManyRegions ? 0 : packing.lower_bound / kGainOfMany;
  if (packing.total > packing.lower_bound + enough && regions.size() <= kMostForLargestFirst) {
    std::vector<int> order(regions.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return regions[a].bytes > regions[b].bytes; });
    std::vector<int64_t> offsets = PlaceInOrder(regions, order);
    int64_t total = Total(regions, offsets);
    if (total < packing.total) {
      packing.offsets = std::move(offsets);
      packing.total = total;
    }
  }
  return packing;
}

}  // namespace sluice
