// Checks the histories that tasks have written (SLUICE_HISTORY):  check_history FILE...
//
// It prints one line for each broken rule, `broken I4: ...`, then `count NAME NUMBER` for what was seen; the exit code
// is 1 when a rule was broken, 2 when a file cannot be read.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "tests/simulation/invariants.h"

int main(int argc, char** argv) {
  using namespace sluice;
  std::vector<Event> events;
  for (int i = 1; i < argc; ++i) {
    std::ifstream in(argv[i]);
    if (!in) {
      std::fprintf(stderr, "check_history: %s cannot be read\n", argv[i]);
      return 2;
    }
    std::string line;
    while (std::getline(in, line)) {
      if (in.eof()) break;  // a process was killed while it wrote this
      absl::StatusOr<Event> event = ParseEvent(line);
      if (!event.ok()) {
        std::fprintf(stderr, "check_history: %s: %s\n", argv[i], std::string(event.status().message()).c_str());
        return 2;
      }
      events.push_back(*std::move(event));
    }
  }
  std::stable_sort(events.begin(), events.end(), [](const Event& a, const Event& b) { return a.at < b.at; });
  simulation::HistoryCounts counts;
  const std::vector<std::string> broken = simulation::CheckHistory(events, &counts);
  for (const std::string& b : broken) std::printf("broken %s\n", b.c_str());
  const auto print = [](const std::string& name, int64_t n) {
    std::printf("count %s %lld\n", name.c_str(), static_cast<long long>(n));
  };
  print("events", counts.events);
  print("updates", counts.updates);
  print("commits", counts.commits);
  print("restores", counts.restores);
  print("epochs", counts.epochs);
  print("refused", counts.refused);
  print("stale", counts.stale);
  print("aborted", counts.aborted);
  for (const auto& [what, n] : counts.faults) print("fault " + what, n);
  return broken.empty() ? 0 : 1;
}
