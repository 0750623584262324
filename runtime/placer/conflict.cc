#include "runtime/placer/conflict.h"

#include <algorithm>
#include <set>

namespace sluice {
namespace {

using Choices = std::vector<bool>;

bool None(const Choices& c) { return std::find(c.begin(), c.end(), true) == c.end(); }

Choices And(const Choices& a, const Choices& b) {
  Choices both(a.size());
  for (size_t i = 0; i < a.size(); ++i) both[i] = a[i] && b[i];
  return both;
}

// Adds `left` more constraints from `begin` on so that nothing is allowed.
bool Search(const std::vector<Choices>& all, size_t begin, const Choices& now, int left, std::vector<int>* chosen) {
  if (left == 0) return None(now);
  for (size_t i = begin; i < all.size(); ++i) {
    chosen->push_back(static_cast<int>(i));
    if (Search(all, i + 1, And(now, all[i]), left - 1, chosen)) return true;
    chosen->pop_back();
  }
  return false;
}

// Leaves out what is not needed, the last first.
std::vector<int> Shrink(const std::vector<Choices>& all, std::vector<int> chosen, size_t choices) {
  for (size_t i = chosen.size(); i-- > 0;) {
    Choices rest(choices, true);
    for (size_t j = 0; j < chosen.size(); ++j) {
      if (j != i) rest = And(rest, all[chosen[j]]);
    }
    if (None(rest)) chosen.erase(chosen.begin() + i);
  }
  return chosen;
}

}  // namespace

std::vector<int> SmallestConflict(const std::vector<std::vector<bool>>& allowed) {
  if (allowed.empty()) return {};
  const size_t choices = allowed[0].size();
  // Of constraints that say the same the first stands for all.
  std::vector<Choices> distinct;
  std::vector<int> original;
  std::set<Choices> seen;
  Choices all(choices, true);
  for (size_t i = 0; i < allowed.size(); ++i) {
    if (!seen.insert(allowed[i]).second) continue;
    distinct.push_back(allowed[i]);
    original.push_back(static_cast<int>(i));
    all = And(all, allowed[i]);
  }
  if (!None(all)) return {};
  std::vector<int> chosen;
  constexpr size_t kExhaustive = 100;
  for (int size = 1; size <= 3 && chosen.empty(); ++size) {
    if (size == 3 && distinct.size() > kExhaustive) break;
    Search(distinct, 0, Choices(choices, true), size, &chosen);
  }
  if (chosen.empty()) {
    for (size_t i = 0; i < distinct.size(); ++i) chosen.push_back(static_cast<int>(i));
    chosen = Shrink(distinct, std::move(chosen), choices);
  }
  for (int& c : chosen) c = original[c];
  return chosen;
}

}  // namespace sluice
