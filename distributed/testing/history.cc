#include "distributed/testing/history.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "core/base/status.h"

namespace sluice {
namespace {

constexpr const char* kKinds[] = {"start",      "arrive", "answer",  "fault", "epoch", "restore",
                                  "committing", "commit", "refused", "lost",  "state"};
static_assert(sizeof(kKinds) / sizeof(kKinds[0]) == static_cast<size_t>(EventKind::kNumKinds));

// Values have no spaces of their own, and line breaks no place in a line.
std::string Escaped(const std::string& text) {
  return absl::StrReplaceAll(text, {{"%", "%25"}, {" ", "%20"}, {"\n", "%0A"}});
}
std::string Unescaped(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"%20", " "}, {"%0A", "\n"}, {"%25", "%"}});
}

void AddText(const char* name, const std::string& value, std::string* line) {
  if (!value.empty()) absl::StrAppend(line, " ", name, "=", Escaped(value));
}
void AddNumber(const char* name, int64_t value, std::string* line) {
  if (value != 0) absl::StrAppend(line, " ", name, "=", value);
}

absl::Status SetField(absl::string_view name, absl::string_view value, Event* event) {
  int64_t number = 0;
  const bool is_number = absl::SimpleAtoi(value, &number);
  if (name == "method") {
    event->method = Unescaped(value);
  } else if (name == "session") {
    event->session = Unescaped(value);
  } else if (name == "graph") {
    event->graph = Unescaped(value);
  } else if (name == "lineage") {
    event->lineage = Unescaped(value);
  } else if (name == "text") {
    event->text = Unescaped(value);
  } else if (name == "updates") {
    event->updates = absl::StrSplit(Unescaped(value), ',');
  } else if (name == "limit_ms" && is_number) {
    event->limit = absl::Milliseconds(number);
  } else if (name == "call" && is_number) {
    event->call = number;
  } else if (name == "epoch" && is_number) {
    event->epoch = number;
  } else if (name == "step" && is_number) {
    event->step = number;
  } else if (name == "code" && is_number) {
    event->code = static_cast<int>(number);
  } else {
    return InvalidArgument("an event has no ", name, "=", value);
  }
  return absl::OkStatus();
}

}  // namespace

std::string FormatEvent(const Event& event) {
  const int64_t ns = absl::ToInt64Nanoseconds(event.at);
  std::string line =
      absl::StrCat(ns / 1'000'000'000, ".", absl::Dec(ns % 1'000'000'000, absl::kZeroPad9), " ", Escaped(event.task),
                   " ", Escaped(event.life), " ", kKinds[static_cast<int>(event.kind)]);
  AddNumber("call", event.call, &line);
  AddText("method", event.method, &line);
  AddText("session", event.session, &line);
  AddText("graph", event.graph, &line);
  AddText("lineage", event.lineage, &line);
  AddNumber("epoch", event.epoch, &line);
  AddNumber("step", event.step, &line);
  AddNumber("code", event.code, &line);
  if (event.limit < absl::Hours(1000)) AddNumber("limit_ms", absl::ToInt64Milliseconds(event.limit), &line);
  AddText("updates", absl::StrJoin(event.updates, ","), &line);
  AddText("text", event.text, &line);
  return line;
}

absl::StatusOr<Event> ParseEvent(absl::string_view line) {
  const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
  const auto bad = [line](absl::string_view why) { return InvalidArgument("this is no event (", why, "): ", line); };
  if (words.size() < 4) return bad("too few words");
  Event event;
  const std::pair<absl::string_view, absl::string_view> time = absl::StrSplit(words[0], absl::MaxSplits('.', 1));
  int64_t seconds = 0, nanos = 0;
  if (!absl::SimpleAtoi(time.first, &seconds) || time.second.size() != 9 || !absl::SimpleAtoi(time.second, &nanos)) {
    return bad("its time is not SECONDS.NANOSECONDS");
  }
  event.at = absl::Seconds(seconds) + absl::Nanoseconds(nanos);
  event.task = Unescaped(words[1]);
  event.life = Unescaped(words[2]);
  int kind = 0;
  while (kind < static_cast<int>(EventKind::kNumKinds) && words[3] != kKinds[kind]) ++kind;
  if (kind == static_cast<int>(EventKind::kNumKinds)) return bad("its kind is not known");
  event.kind = static_cast<EventKind>(kind);
  for (size_t i = 4; i < words.size(); ++i) {
    const std::pair<absl::string_view, absl::string_view> field = absl::StrSplit(words[i], absl::MaxSplits('=', 1));
    RETURN_IF_ERROR(SetField(field.first, field.second, &event));
  }
  return event;
}

absl::StatusOr<HistorySink> HistoryFromEnvironment(const std::string& task) {
  const char* folder = std::getenv("SLUICE_HISTORY");
  if (folder == nullptr || *folder == '\0') return HistorySink();
  const std::string life = absl::StrCat(getpid());
  const std::string path =
      absl::StrCat(folder, "/", absl::StrReplaceAll(task, {{"/", "_"}, {":", "_"}}), "-", life, ".events");
  struct File {
    absl::Mutex mu;
    int descriptor = -1;
    ~File() {
      if (descriptor >= 0) close(descriptor);
    }
  };
  auto file = std::make_shared<File>();
  file->descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file->descriptor < 0) return NotFound("SLUICE_HISTORY: ", path, " cannot be written: ", std::strerror(errno));
  return HistorySink([file, task, life](Event event) {
    event.task = task;
    event.life = life;
    absl::MutexLock lock(&file->mu);
    timespec now = {};
    clock_gettime(CLOCK_MONOTONIC, &now);
    event.at = absl::DurationFromTimespec(now);
    const std::string line = absl::StrCat(FormatEvent(event), "\n");
    (void)!write(file->descriptor, line.data(), line.size());
  });
}

}  // namespace sluice
