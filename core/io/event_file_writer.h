// Event files: the log of a training run that TensorBoard shows.
//
//   ASSIGN_OR_RETURN(auto events, EventFileWriter::Open(files, "/tmp/logs", ""));
//   proto::Event event;  event.set_step(1);  ...
//   RETURN_IF_ERROR(events->Write(event.SerializeAsString()));
//
// A file is named events.out.tfevents.<seconds>.<host>.<pid>.<number><suffix> and begins with a version record.
// Threads: any. Blocking: Write buffers; it writes out when the last time is longer ago than the flush interval.
#ifndef SLUICE_CORE_IO_EVENT_FILE_WRITER_H_
#define SLUICE_CORE_IO_EVENT_FILE_WRITER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/io/file_system.h"
#include "core/io/record_file.h"

namespace sluice {

class EventFileWriter {
 public:
  // Makes the folder and a new file in it.
  static absl::StatusOr<std::unique_ptr<EventFileWriter>> Open(FileSystem* files, const std::string& folder,
                                                               absl::string_view suffix = "",
                                                               absl::Duration flush_interval = absl::Seconds(120));
  // `event` is a serialized Event message.
  absl::Status Write(absl::string_view event);
  absl::Status Flush();
  absl::Status Close();
  const std::string& path() const { return path_; }

 private:
  EventFileWriter(std::string path, std::unique_ptr<RecordWriter> records, absl::Duration flush_interval);

  const std::string path_;
  const absl::Duration flush_interval_;
  absl::Mutex mu_;
  const std::unique_ptr<RecordWriter> records_ ABSL_PT_GUARDED_BY(mu_);
  absl::Time last_flush_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sluice

#endif  // SLUICE_CORE_IO_EVENT_FILE_WRITER_H_
