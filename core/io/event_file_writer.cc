#include "core/io/event_file_writer.h"

#include <unistd.h>

#include <atomic>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "core/base/status.h"
#include "core/proto/event.pb.h"

namespace sluice {

absl::StatusOr<std::unique_ptr<EventFileWriter>> EventFileWriter::Open(FileSystem* files, const std::string& folder,
                                                                       absl::string_view suffix,
                                                                       absl::Duration flush_interval) {
  static std::atomic<int> counter{0};
  RETURN_IF_ERROR(files->MakeFolders(folder));
  char host[256] = "localhost";
  gethostname(host, sizeof(host) - 1);
  const absl::Time now = absl::Now();
  std::string path = JoinPath(folder, absl::StrFormat("events.out.tfevents.%010d.%s.%d.%d%s", absl::ToUnixSeconds(now),
                                                      host, getpid(), counter++, suffix));
  ASSIGN_OR_RETURN(std::unique_ptr<RecordWriter> records, RecordWriter::Open(files, path, Compression::kNone));
  std::unique_ptr<EventFileWriter> writer(new EventFileWriter(std::move(path), std::move(records), flush_interval));
  proto::Event version;
  version.set_wall_time(absl::ToDoubleSeconds(now - absl::UnixEpoch()));
  version.set_file_version("brain.Event:2");
  version.mutable_source_metadata()->set_writer("sluice.core.io.event_file_writer");
  RETURN_IF_ERROR(writer->Write(version.SerializeAsString()));
  RETURN_IF_ERROR(writer->Flush());
  return writer;
}

EventFileWriter::EventFileWriter(std::string path, std::unique_ptr<RecordWriter> records, absl::Duration flush_interval)
    : path_(std::move(path)), flush_interval_(flush_interval), records_(std::move(records)), last_flush_(absl::Now()) {}

absl::Status EventFileWriter::Write(absl::string_view event) {
  absl::MutexLock lock(&mu_);
  RETURN_IF_ERROR(Annotate(records_->Write(event), absl::StrCat(path_, ": ")));
  const absl::Time now = absl::Now();
  if (now - last_flush_ < flush_interval_) return absl::OkStatus();
  last_flush_ = now;
  return records_->Flush();
}

absl::Status EventFileWriter::Flush() {
  absl::MutexLock lock(&mu_);
  last_flush_ = absl::Now();
  return records_->Flush();
}

absl::Status EventFileWriter::Close() {
  absl::MutexLock lock(&mu_);
  return records_->Close();
}

}  // namespace sluice
