// Steps that are run in parts: where feeds come in and fetches go out, and what has been given and taken.
//
// Such a step has no arguments and no results. A feed is a `_Recv` and a fetch a `_Send`, on the device where the
// ordinary step has the argument or the result; the client is at their other end, through the rendezvous of the step.
#ifndef SLUICE_RUNTIME_SESSION_PARTIAL_BOOK_H_
#define SLUICE_RUNTIME_SESSION_PARTIAL_BOOK_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "core/graph/graph.h"
#include "core/kernel/rendezvous.h"
#include "runtime/partition/partition.h"
#include "runtime/session/session_base.h"

namespace sluice {

// One place where a tensor passes between client and step.
struct PartialPort {
  int number = 0;  // of the feed or fetch
  std::string device;
  Rendezvous::Key key;
};

struct PartialPlan {
  std::vector<PartialPort> feeds;       // those that the step needs; a feed may come in at several places
  std::vector<PartialPort> fetches;     // one for each
  std::vector<std::vector<int>> needs;  // of each fetch: the feeds it depends on
};

// Of the cut graph of a signature: the numbers of the feeds that each fetch depends on, sorted.
std::vector<std::vector<int>> FeedsOfFetches(const Graph& cut, int num_fetches);

// Makes arguments and results of placed partitions into ports. `first_device` stands for an empty device name.
absl::Status OpenPorts(const std::string& first_device, std::vector<Partition>* partitions, PartialPlan* plan);

// What of one partial run has been given and taken. Threads: not safe.
class PartialBook {
 public:
  // Both must outlive it.
  PartialBook(const CallableSpec* spec, const PartialPlan* plan);

  // The numbers of the feeds and fetches of one part, or why it cannot be: not part of the set-up, there before, or
  // dependent on feeds that are neither here nor there before.
  absl::Status Find(absl::Span<const std::string> feeds, absl::Span<const std::string> fetches,
                    std::vector<int>* feed_numbers, std::vector<int>* fetch_numbers) const;
  // REQUIRES: Find gave them, and nothing was marked since.
  void Mark(absl::Span<const int> feeds, absl::Span<const int> fetches);
  // Everything was taken, and everything given that the step needs.
  bool complete() const;
  // The fetches that were not taken, for messages.
  std::string Open() const;

 private:
  const CallableSpec& spec_;
  const PartialPlan& plan_;
  std::vector<bool> given_;
  std::vector<bool> taken_;
};

// For a handle that stands for nothing.
absl::Status NoPartialRun(const std::string& handle);
// OK, or why nothing can be run in parts by this spec.
absl::Status CheckPartialSpec(const CallableSpec& spec);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_SESSION_PARTIAL_BOOK_H_
