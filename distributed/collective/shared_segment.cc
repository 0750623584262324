#include "distributed/collective/shared_segment.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <random>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "core/base/status.h"

namespace sluice {
namespace {

constexpr size_t kPage = 4096;
size_t Pages(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

size_t ControlBytes(int members) {
  return Pages(sizeof(SharedSegment::Header)) + Pages(members * sizeof(SharedSegment::Member)) +
         Pages(members * SharedSegment::kBoard * sizeof(SharedSegment::Entry));
}
size_t TotalBytes(int members) {
  return ControlBytes(members) + members * SharedSegment::kSlots * SharedSegment::kSlotBytes;
}

absl::StatusOr<void*> Map(int fd, size_t bytes) {
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) return absl::UnavailableError(absl::StrCat("mmap of shared memory: ", std::strerror(errno)));
  return base;
}

void Futex(std::atomic<uint32_t>* word, int op, uint32_t value, const timespec* timeout) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(word), op, value, timeout, nullptr, 0);
}

}  // namespace

SharedSegment::SharedSegment(int fd, void* base, size_t bytes, int members) : fd_(fd), base_(base), bytes_(bytes) {
  char* at = static_cast<char*>(base) + Pages(sizeof(Header));
  members_ = reinterpret_cast<Member*>(at);
  at += Pages(members * sizeof(Member));
  entries_ = reinterpret_cast<Entry*>(at);
  slots_ = static_cast<char*>(base) + ControlBytes(members);
}

SharedSegment::~SharedSegment() {
  munmap(base_, bytes_);
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<std::unique_ptr<SharedSegment>> SharedSegment::Make(int members) {
  const size_t bytes = TotalBytes(members);
  const int fd = memfd_create("sluice-collectives", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return absl::UnavailableError(absl::StrCat("memfd_create: ", std::strerror(errno)));
  // Sealed, so that nobody can turn a read into a fault.
  if (ftruncate(fd, static_cast<off_t>(bytes)) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
    const std::string why = std::strerror(errno);
    close(fd);
    return absl::UnavailableError(absl::StrCat("a memory file of ", bytes, " bytes: ", why));
  }
  absl::StatusOr<void*> base = Map(fd, bytes);
  if (!base.ok()) {
    close(fd);
    return base.status();
  }
  std::unique_ptr<SharedSegment> made(new SharedSegment(fd, *base, bytes, members));
  // A new memory file is zeros, which is what the counters begin with.
  std::random_device random;
  made->header().token = (uint64_t{random()} << 32) | random();
  made->header().members = static_cast<uint32_t>(members);
  return made;
}

std::string SharedSegment::offer() const {
  return absl::StrCat(getpid(), " ", fd_, " ", static_cast<Header*>(base_)->token);
}

absl::StatusOr<std::unique_ptr<SharedSegment>> SharedSegment::Open(const std::string& offer, int members) {
  std::vector<std::string> parts = absl::StrSplit(offer, ' ');
  int pid = 0, theirs = 0;
  uint64_t token = 0;
  if (parts.size() != 3 || !absl::SimpleAtoi(parts[0], &pid) || !absl::SimpleAtoi(parts[1], &theirs) ||
      !absl::SimpleAtoi(parts[2], &token)) {
    return absl::UnavailableError(absl::StrCat("'", offer, "' offers no shared memory"));
  }
  const std::string path = absl::StrCat("/proc/", pid, "/fd/", theirs);
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return absl::UnavailableError(absl::StrCat(path, ": ", std::strerror(errno)));
  struct stat info;
  const size_t bytes = TotalBytes(members);
  const int seals = fcntl(fd, F_GET_SEALS);
  if (fstat(fd, &info) != 0 || static_cast<size_t>(info.st_size) != bytes || seals < 0 || !(seals & F_SEAL_SHRINK)) {
    close(fd);
    return absl::UnavailableError(absl::StrCat(path, " is not the shared memory of this group"));
  }
  absl::StatusOr<void*> base = Map(fd, bytes);
  close(fd);
  if (!base.ok()) return base.status();
  std::unique_ptr<SharedSegment> made(new SharedSegment(-1, *base, bytes, members));
  if (made->header().token != token || made->header().members != static_cast<uint32_t>(members)) {
    return absl::UnavailableError(absl::StrCat(path, " is the shared memory of another group"));
  }
  return made;
}

void SharedSegment::Fail(const absl::Status& why) {
  Header& h = header();
  uint32_t none = 0;
  if (!h.failed.compare_exchange_strong(none, 1)) return;
  h.code = static_cast<int32_t>(why.code());
  const size_t length = std::min(why.message().size(), sizeof(h.reason) - 1);
  std::memcpy(h.reason, why.message().data(), length);
  h.reason[length] = '\0';
  h.failed.store(2, std::memory_order_release);
  for (uint32_t m = 0; m < h.members; ++m) Ring(static_cast<int>(m));
}

absl::Status SharedSegment::reason() {
  Header& h = header();
  const absl::StatusCode code = static_cast<absl::StatusCode>(h.code);
  return absl::Status(code == absl::StatusCode::kOk ? absl::StatusCode::kInternal : code,
                      std::string(h.reason, strnlen(h.reason, sizeof(h.reason))));
}

void SharedSegment::Ring(int m) {
  Member& member = members_[m];
  // Pairs with the fence in the sleeper: either it sees the change, or this sees that it sleeps.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (member.parked.load(std::memory_order_relaxed) == 0) return;
  member.bell.fetch_add(1, std::memory_order_release);
  Futex(&member.bell, FUTEX_WAKE, 64, nullptr);
}

void SharedSegment::Sleep(int m, uint32_t bell) {
  const timespec second = {1, 0};
  Futex(&members_[m].bell, FUTEX_WAIT, bell, &second);
}

}  // namespace sluice
