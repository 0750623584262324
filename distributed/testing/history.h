// What happened at the tasks of a cluster, event by event, for those who check afterwards that nothing happened which
// may not (tests/simulation/invariants.h). An event is a line of text, so programs in any language add their own:
//
//   52.104201873 /job:ps/replica:0/task:0 4711 arrive call=7 method=RunGraph session=s1_1 graph=graph_2 step=99
//   52.104801113 /job:ps/replica:0/task:0 4711 answer call=7 method=RunGraph
//
// that is: the time on a clock that all of them share, the task, which of its lives, and what happened.
//
// Threads: any function from any thread; the lines of one file are in the order of their times.
#ifndef SLUICE_DISTRIBUTED_TESTING_HISTORY_H_
#define SLUICE_DISTRIBUTED_TESTING_HISTORY_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace sluice {

enum class EventKind {
  kStart,       // of a life of the task
  kArrive,      // of a call at the task
  kAnswer,      // of that call: `code` 0, or why not
  kFault,       // something was done to the task or to a message: `text`
  kEpoch,       // a chief has taken `epoch` of `lineage`
  kRestore,     // it has restored the checkpoint of `step`
  kCommitting,  // it begins to commit the checkpoint of `step`
  kCommit,      // the checkpoint of `step` is committed
  kRefused,     // a commit was refused
  kLost,        // the disk has lost the newest checkpoint, that of `step`
  kState,       // asked at the end, the task holds: `text`, empty for nothing
  kNumKinds
};

struct Event {
  absl::Duration at;
  std::string task;
  std::string life;
  EventKind kind = EventKind::kStart;
  int64_t call = 0;  // joins an answer with its arrival, within a life
  std::string method;
  std::string session;
  std::string graph;
  std::string lineage;
  int64_t epoch = 0;
  int64_t step = 0;
  int code = 0;
  absl::Duration limit = absl::InfiniteDuration();  // what the caller waits
  std::vector<std::string> updates;                 // variables that a registered graph changes from what they hold
  std::string text;
};

std::string FormatEvent(const Event& event);
absl::StatusOr<Event> ParseEvent(absl::string_view line);

using HistorySink = std::function<void(Event)>;

// Appends to a file of this process in the folder that SLUICE_HISTORY names, with the time, `task` and this process as
// its life; every line is there when the call returns. Null when the variable is not set.
absl::StatusOr<HistorySink> HistoryFromEnvironment(const std::string& task);

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_TESTING_HISTORY_H_
