#include "kernels/common/tuning.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "kernels/common/cpu_isa.h"

#ifdef __x86_64__
#include <cpuid.h>
#endif

namespace sluice {
namespace {

constexpr char kFile[] = "/tuning.txt", kLock[] = "/tuning.lock";
constexpr size_t kMostBytes = 1 << 20;

std::string UserFolder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && cache[0] == '/') return std::string(cache) + "/sluice";
  const char* home = std::getenv("HOME");
  return home != nullptr && home[0] == '/' ? std::string(home) + "/.cache/sluice" : "";
}

void MakeFolders(const std::string& path) {
  for (size_t i = path.find('/', 1); i != std::string::npos; i = path.find('/', i + 1)) {
    mkdir(path.substr(0, i).c_str(), 0777);
  }
  mkdir(path.c_str(), 0777);
}

bool IsWord(const std::string& s) {
  for (unsigned char c : s) {
    if (c <= ' ' || c >= 127) return false;
  }
  return !s.empty();
}

// The whole file up to a limit; empty when there is none.
std::string Contents(const std::string& path) {
  std::string text;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return text;
  char part[4096];
  for (ssize_t n; text.size() < kMostBytes && (n = read(fd, part, sizeof part)) > 0;) {
    text.append(part, static_cast<size_t>(n));
  }
  close(fd);
  return text;
}

}  // namespace

Tuning::Tuning(std::string folder) : folder_(std::move(folder)) {}

Tuning* Tuning::OfUser() {
  static Tuning* const tuning = [] {
    const char* asked = std::getenv("SLUICE_TUNING");
    return asked != nullptr && asked[0] == '0' ? nullptr : new Tuning(UserFolder());
  }();
  return tuning;
}

int Tuning::OpenLock() {
  if (folder_.empty()) return -1;
  const std::string path = folder_ + kLock;
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd >= 0) return fd;
  MakeFolders(folder_);
  return open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
}

bool Tuning::CanKeep() {
  const int fd = OpenLock();
  if (fd >= 0) close(fd);
  return fd >= 0;
}

void Tuning::Read() {
  read_ = true;
  if (folder_.empty()) return;
  const std::string text = Contents(folder_ + kFile);
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    if (end == std::string::npos) return;  // cut off
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    const size_t space = line.find(' ');
    if (space == std::string::npos) continue;
    const std::string key = line.substr(0, space), choice = line.substr(space + 1);
    if (IsWord(key) && IsWord(choice)) choices_.emplace(key, choice);
  }
}

bool Tuning::Write() {
  std::string text;
  for (const auto& [key, choice] : choices_) text += key + " " + choice + "\n";
  if (text.size() > kMostBytes) return false;
  const std::string path = folder_ + kFile, temporary = path + "." + std::to_string(getpid());
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) return false;
  bool ok = true;
  for (size_t done = 0; ok && done < text.size();) {
    const ssize_t n = write(fd, text.data() + done, text.size() - done);
    ok = n > 0;
    if (ok) done += static_cast<size_t>(n);
  }
  ok = fsync(fd) == 0 && ok;
  ok = close(fd) == 0 && ok;
  ok = ok && rename(temporary.c_str(), path.c_str()) == 0;
  if (!ok) unlink(temporary.c_str());
  return ok;
}

std::optional<std::string> Tuning::Find(const std::string& key) {
  absl::MutexLock lock(&mu_);
  if (!read_) Read();
  const auto found = choices_.find(key);
  if (found == choices_.end()) return std::nullopt;
  return found->second;
}

std::optional<std::string> Tuning::Keep(const std::string& key, const std::string& choice) {
  if (!IsWord(key) || !IsWord(choice)) return std::nullopt;
  const int fd = OpenLock();
  if (fd < 0) return std::nullopt;
  bool locked = false;
  for (int i = 0; !locked && i < 100; ++i) {
    if (i > 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
  }
  std::optional<std::string> stands;
  if (locked) {
    absl::MutexLock lock(&mu_);
    Read();  // what others have kept meanwhile; what is known here stays
    const auto [entry, added] = choices_.emplace(key, choice);
    if (!added || Write()) {
      stands = entry->second;
    } else {
      choices_.erase(entry);
    }
  }
  close(fd);  // unlocks
  return stands;
}

std::string TuningMachine() {
  std::string name;
#ifdef __x86_64__
  unsigned int words[12];
  bool known = true;
  for (unsigned int i = 0; i < 3; ++i) {
    unsigned int* w = words + 4 * i;
    known = known && __get_cpuid(0x80000002u + i, &w[0], &w[1], &w[2], &w[3]) != 0;
  }
  if (known) {
    char text[sizeof words + 1] = {};
    std::memcpy(text, words, sizeof words);
    for (const char* c = text; *c != '\0'; ++c) {
      const bool plain = (*c >= '0' && *c <= '9') || (*c >= 'A' && *c <= 'Z') || (*c >= 'a' && *c <= 'z');
      if (plain) name += *c;
    }
  }
#endif
  const char* const isas[] = {"baseline", "avx2", "avx512"};
  return (name.empty() ? "cpu" : name) + "/" + isas[static_cast<int>(BestCpuIsa())];
}

}  // namespace sluice
