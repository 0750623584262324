// Which of several ways to compute the same thing was found the fastest on this machine, kept in a file of the user's
// cache folder so that it is measured once.
//
//   Tuning* tuning = Tuning::OfUser();                       // null when SLUICE_TUNING is 0
//   std::optional<std::string> choice = tuning->Find(key);
//   if (!choice && tuning->CanKeep()) choice = tuning->Keep(key, Measure());
//
// Ways may differ in the last bits of results, so the first choice that was kept for a key stands, for every process
// that shares the folder; what cannot be kept should not be measured. The file holds a line `key choice` for each key;
// lines that are not of that form are passed over. Keys and choices are words without white space.
//
// Threads: any method from any thread. Blocking: Keep waits up to a second for other processes, then gives up.
// Processes: the file is replaced as a whole, under a lock that ends with its holder.
#ifndef SLUICE_KERNELS_COMMON_TUNING_H_
#define SLUICE_KERNELS_COMMON_TUNING_H_

#include <map>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace sluice {

class Tuning {
 public:
  // `folder` is made when it is not there; an empty name keeps nothing.
  explicit Tuning(std::string folder);

  // That of $XDG_CACHE_HOME/sluice, else ~/.cache/sluice.
  static Tuning* OfUser();

  // Whether the folder can be written to.
  bool CanKeep();
  std::optional<std::string> Find(const std::string& key);
  // The choice that stands from now on: this one, or one that was kept before. Nothing when it could not be kept.
  std::optional<std::string> Keep(const std::string& key, const std::string& choice);

 private:
  int OpenLock();  // a file descriptor, or -1
  void Read() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool Write() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  const std::string folder_;
  absl::Mutex mu_;
  bool read_ ABSL_GUARDED_BY(mu_) = false;
  std::map<std::string, std::string> choices_ ABSL_GUARDED_BY(mu_);
};

// A word for the processor's model and the instructions in use, to begin keys with.
std::string TuningMachine();

}  // namespace sluice

#endif  // SLUICE_KERNELS_COMMON_TUNING_H_
