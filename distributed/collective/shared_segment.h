// Memory that the members of a group on one host share: a memory file that one of them makes and the others open
// through /proc, so that it goes with the last process that maps it, however that ends.
//
//   control    for each member: counters of what it has done, one cache line for each writer, and a bell
//   boards     what each member is ready to run, and the order in which member 0 has decided that they run
//   slots      kSlots chunks for each member
#ifndef SLUICE_DISTRIBUTED_COLLECTIVE_SHARED_SEGMENT_H_
#define SLUICE_DISTRIBUTED_COLLECTIVE_SHARED_SEGMENT_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace sluice {

class SharedSegment {
 public:
  static constexpr int kMaxMembers = 16;
  static constexpr int kSlots = 4;
  static constexpr size_t kSlotBytes = 256 << 10;
  static constexpr int kBoard = 64;  // runs that may be announced and not yet scheduled, and scheduled and not yet done

  // Of one member; each field has one writer but the bell.
  struct Member {
    alignas(64) std::atomic<uint64_t> published;  // chunks whose slots have this member's numbers
    alignas(64) std::atomic<uint64_t> reduced;    // chunks of which this member's part is in its slot
    alignas(64) std::atomic<uint64_t> consumed;   // chunks that this member needs no more
    alignas(64) std::atomic<uint64_t> announced;  // entries of its board
    alignas(64) std::atomic<uint64_t> done;       // runs
    alignas(64) std::atomic<uint32_t> parked;     // it sleeps on the bell
    std::atomic<uint32_t> bell;
  };
  // A run that a member is ready for.
  struct Entry {
    uint64_t instance;
    uint64_t run;
    uint32_t is_source;
    char signature[180];
  };
  struct Scheduled {
    uint64_t instance;
    uint64_t run;
    uint32_t source;
  };
  struct Header {
    uint64_t token;
    uint32_t members;
    std::atomic<uint32_t> failed;  // 0, 1 while the reason is written, 2
    int32_t code;
    char reason[1024];
    alignas(64) std::atomic<uint64_t> scheduled;
    alignas(64) std::atomic<uint64_t> seen[kMaxMembers];  // announcements that member 0 has read
    Scheduled schedule[kBoard];
  };

  static absl::StatusOr<std::unique_ptr<SharedSegment>> Make(int members);
  // What Open wants, on the same host.
  std::string offer() const;
  // UNAVAILABLE when it cannot be mapped here (another user, another container).
  static absl::StatusOr<std::unique_ptr<SharedSegment>> Open(const std::string& offer, int members);
  ~SharedSegment();

  Header& header() { return *static_cast<Header*>(base_); }
  Member& member(int m) { return members_[m]; }
  Entry& entry(int m, uint64_t i) { return entries_[m * kBoard + i % kBoard]; }
  char* slot(int m, uint64_t chunk) { return slots_ + (m * kSlots + chunk % kSlots) * kSlotBytes; }

  // The first reason stays.
  void Fail(const absl::Status& why);
  bool failed() { return header().failed.load(std::memory_order_acquire) == 2; }
  absl::Status reason();
  // Wakes a member if it sleeps. After a change that it may wait for.
  void Ring(int m);
  // Sleeps until the bell rings, but for no longer than a second. `bell` was read before the last look at what is
  // waited for.
  void Sleep(int m, uint32_t bell);

 private:
  SharedSegment(int fd, void* base, size_t bytes, int members);

  const int fd_;
  void* const base_;
  const size_t bytes_;
  Member* members_;
  Entry* entries_;
  char* slots_;
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_COLLECTIVE_SHARED_SEGMENT_H_
