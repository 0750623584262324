#include "core/device/device_name.h"

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "core/base/status.h"

namespace sluice {
namespace {

bool ParseIndex(absl::string_view text, std::optional<int>* out) {
  if (text == "*") {
    out->reset();
    return true;
  }
  int value = 0;
  if (!absl::SimpleAtoi(text, &value) || value < 0) return false;
  *out = value;
  return true;
}

bool IsWord(absl::string_view text) {
  if (text.empty()) return false;
  for (char c : text) {
    if (!absl::ascii_isalnum(c) && c != '_' && c != '-' && c != '.') return false;
  }
  return true;
}

// "GPU", "GPU:0" or "GPU:*".
bool ParseTypeAndIndex(absl::string_view text, DeviceName* name) {
  std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
  if (parts.first == "*") {
    name->type.reset();
  } else if (IsWord(parts.first)) {
    name->type = absl::AsciiStrToUpper(parts.first);
  } else {
    return false;
  }
  if (text.find(':') == absl::string_view::npos) return true;
  return ParseIndex(parts.second, &name->index);
}

// One part between slashes.
bool ParsePart(absl::string_view part, DeviceName* name) {
  std::pair<absl::string_view, absl::string_view> kv = absl::StrSplit(part, absl::MaxSplits(':', 1));
  const std::string key = absl::AsciiStrToLower(kv.first);
  if (key == "job") {
    if (kv.second == "*") {
      name->job.reset();
      return true;
    }
    if (!IsWord(kv.second)) return false;
    name->job = std::string(kv.second);
    return true;
  }
  if (key == "replica") return ParseIndex(kv.second, &name->replica);
  if (key == "task") return ParseIndex(kv.second, &name->task);
  if (key == "device") return ParseTypeAndIndex(kv.second, name);
  if (key == "cpu" || key == "gpu") return ParseTypeAndIndex(part, name);
  return false;
}

template <typename T>
bool Agrees(const std::optional<T>& wanted, const std::optional<T>& found) {
  return !wanted || (found && *wanted == *found);
}

template <typename T>
bool Meet(const std::optional<T>& a, const std::optional<T>& b, std::optional<T>* out) {
  if (a && b && *a != *b) return false;
  *out = a ? a : b;
  return true;
}

}  // namespace

absl::StatusOr<DeviceName> DeviceName::Parse(absl::string_view text) {
  DeviceName name;
  for (absl::string_view part : absl::StrSplit(text, '/', absl::SkipEmpty())) {
    if (!ParsePart(part, &name)) {
      return InvalidArgument("'", text, "' is not the name of a device: cannot read '", part,
                             "'; wanted parts such as /job:worker, /replica:0, /task:1, /device:GPU:0 or /cpu:0");
    }
  }
  return name;
}

std::string DeviceName::ToString() const {
  std::string out;
  if (job) absl::StrAppend(&out, "/job:", *job);
  if (replica) absl::StrAppend(&out, "/replica:", *replica);
  if (task) absl::StrAppend(&out, "/task:", *task);
  if (type) {
    absl::StrAppend(&out, "/device:", *type);
    if (index) {
      absl::StrAppend(&out, ":", *index);
    } else {
      out += ":*";
    }
  } else if (index) {
    absl::StrAppend(&out, "/device:*:", *index);
  }
  return out;
}

bool DeviceName::Matches(const DeviceName& full) const {
  return Agrees(job, full.job) && Agrees(replica, full.replica) && Agrees(task, full.task) && Agrees(type, full.type) &&
         Agrees(index, full.index);
}

DeviceName DeviceName::Override(const DeviceName& outer, const DeviceName& inner) {
  DeviceName out = outer;
  if (inner.job) out.job = inner.job;
  if (inner.replica) out.replica = inner.replica;
  if (inner.task) out.task = inner.task;
  if (inner.type) {
    // The index belongs to its type: GPU:1 inside CPU:0 does not keep the 0.
    if (out.type != inner.type) out.index.reset();
    out.type = inner.type;
  }
  if (inner.index) out.index = inner.index;
  return out;
}

absl::StatusOr<DeviceName> DeviceName::Intersect(const DeviceName& a, const DeviceName& b) {
  DeviceName out;
  if (!Meet(a.job, b.job, &out.job) || !Meet(a.replica, b.replica, &out.replica) || !Meet(a.task, b.task, &out.task) ||
      !Meet(a.type, b.type, &out.type) || !Meet(a.index, b.index, &out.index)) {
    return InvalidArgument("'", a.ToString(), "' and '", b.ToString(), "' contradict each other");
  }
  return out;
}

bool operator==(const DeviceName& a, const DeviceName& b) {
  return a.job == b.job && a.replica == b.replica && a.task == b.task && a.type == b.type && a.index == b.index;
}

}  // namespace sluice
