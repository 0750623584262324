#include "distributed/master/cluster_step.h"

#include <utility>

#include "absl/strings/cord.h"
#include "core/base/status.h"
#include "distributed/proto/worker.pb.h"
#include "distributed/rendezvous/step_rendezvous.h"
#include "distributed/rpc/call.h"
#include "distributed/testing/bugs.h"
#include "distributed/worker/worker.h"

namespace sluice {
namespace {

// How long the other tasks of a failed step are waited for: long enough to hear the first cause, which may come after
// an error that only follows from it.
constexpr absl::Duration kGrace = absl::Seconds(2);
// What a call has beyond its step's own time. With what the client adds, a step ends within a second of its time
// although a task does not answer.
constexpr absl::Duration kSpareTime = absl::Milliseconds(500);
constexpr absl::Duration kTellTimeout = absl::Seconds(10);

const std::string& RunMethod() {
  static const std::string* method = new std::string(absl::StrCat(Worker::kService, "RunGraph"));
  return *method;
}
const std::string& CleanupMethod() {
  static const std::string* method = new std::string(absl::StrCat(Worker::kService, "CleanupGraph"));
  return *method;
}

// Of two errors of one step, whether `b` tells more about the cause than `a`.
bool IsBetterCause(const absl::Status& a, const absl::Status& b) {
  auto rank = [](const absl::Status& s) {
    if (s.GetPayload(kDerivedPayload).has_value()) return 0;
    if (s.code() == absl::StatusCode::kCancelled) return 1;
    if (s.code() == absl::StatusCode::kAborted) return 2;
    return 3;
  };
  return rank(b) > rank(a);
}

}  // namespace

ClusterStep::ClusterStep(const std::vector<TaskPart>* parts, ClusterStepCall call, Done done)
    : parts_(*parts), call_(std::move(call)), done_(std::move(done)) {}

void ClusterStep::Start() {
  {
    absl::MutexLock lock(&mu_);
    answered_.assign(parts_.size(), false);
    open_ = parts_.size();
    result_.results.resize(call_.num_results);
    result_.busy_seconds.assign(parts_.size(), -1);
    if (call_.trace) sent_ns_.assign(parts_.size(), 0);
  }
  // Kept by the thread, with the memory of its fields. Every message is made before the first call, which may run a
  // part of the step, and others.
  thread_local proto::RunGraphRequest request;
  request.Clear();
  request.set_session_handle(*call_.session_handle);
  request.set_step_id(call_.step_id);
  request.set_request_id(call_.step_id);
  request.set_timeout_ms(absl::ToInt64Milliseconds(call_.timeout));
  request.set_alone(parts_.size() == 1 && !call_.in_parts);
  if (call_.trace) request.mutable_exec_opts()->set_record_timeline(true);
  if (call_.partition_graphs) request.mutable_exec_opts()->set_record_partition_graphs(true);
  // A worker keeps the step's time itself; the call gets a little more, so that it is the worker who names what it
  // waited for.
  const absl::Duration timeout = call_.timeout > absl::ZeroDuration() ? call_.timeout + kSpareTime : call_.limit;
  std::vector<Message, RecyclingAllocator<Message>> messages(parts_.size());
  for (size_t i = 0; i < parts_.size(); ++i) {
    const TaskPart& part = parts_[i];
    request.set_graph_handle(part.graph_handle);
    request.set_incarnation(part.incarnation);
    request.clear_argument();
    for (int a : part.arguments) request.add_argument(a);
    messages[i] = Pack(request);
    messages[i].tensors.reserve(part.arguments.size());
    for (int a : part.arguments) messages[i].tensors.push_back(call_.arguments[a]);
  }
  call_.arguments.clear();
  began_ns_ = absl::ToInt64Nanoseconds(call_.clock->Now());
  for (const bool here : {false, true}) {
    for (size_t i = 0; i < parts_.size(); ++i) {
      if (parts_[i].here != here) continue;
      if (call_.trace) {
        absl::MutexLock lock(&mu_);
        sent_ns_[i] = absl::ToInt64Nanoseconds(call_.clock->Now());
      }
      const Way way = parts_[i].channel->way();
      parts_[i].channel->Call(
          RunMethod(), std::move(messages[i]), timeout,
          [self = shared_from_this(), i, way](auto reply) { self->Answer(i, way, std::move(reply)); });
    }
  }
}

absl::Status ClusterStep::Accept(size_t part, Way way, Message message) {
  thread_local proto::RunGraphResponse response;  // nothing below comes back here
  int64_t bytes = 0;
  if (WireCounters* received = parts_[part].received.get(); received != nullptr && !message.tensors.empty()) {
    bytes = received->Received(way, message.tensors, absl::ToInt64Nanoseconds(call_.clock->Now()) - began_ns_);
  }
  RETURN_IF_ERROR(Unpack(message, &response));
  if (response.result_size() != static_cast<int>(message.tensors.size()))
    return Internal("a task answered with ", message.tensors.size(), " tensors for ", response.result_size(),
                    " results");
  for (int r = 0; r < response.result_size(); ++r) {
    if (response.result(r) < 0 || response.result(r) >= call_.num_results)
      return Internal("a task answered with a result ", response.result(r), " of ", call_.num_results);
    result_.results[Bug(kResultsMixed) ? r : response.result(r)] = std::move(message.tensors[r]);
  }
  result_.busy_seconds[part] = 1e-9 * static_cast<double>(response.busy_nanos());
  if (call_.trace) {
    PartTrace trace;
    trace.task = parts_[part].task;
    trace.stats = std::move(*response.mutable_step_stats());
    trace.sent_ns = sent_ns_[part];
    trace.got_ns = absl::ToInt64Nanoseconds(call_.clock->Now());
    trace.busy_ns = response.busy_nanos();
    trace.result_bytes = bytes;
    trace.way = way;
    result_.reply_times.push_back({trace.sent_ns, response.received_nanos(), response.replied_nanos(), trace.got_ns});
    result_.traces.push_back(std::move(trace));
  }
  for (const proto::GraphDef& graph : response.partition_graph()) {
    result_.partition_graphs.push_back(graph.SerializeAsString());
  }
  return absl::OkStatus();
}

void ClusterStep::Answer(size_t part, Way way, absl::StatusOr<Message> reply) {
  absl::Status tell;
  bool last = false;
  {
    absl::MutexLock lock(&mu_);
    if (answered_[part]) return;
    answered_[part] = true;
    --open_;
    absl::Status status = reply.status();
    if (status.ok()) status = Accept(part, way, *std::move(reply));
    if (Bug(kErrorSwallowed)) status = absl::OkStatus();
    if (Bug(kFirstAnswerEnough) && open_ > 0) {
      answered_.assign(parts_.size(), true);
      open_ = 0;
    }
    if (!status.ok()) {
      if (status.GetPayload(kTransportPayload).has_value()) {
        status = Annotate(status, absl::StrCat("task ", parts_[part].task, " cannot be reached over ",
                                               parts_[part].channel->Describe(), ": "));
      }
      if (result_.status.ok() || IsBetterCause(result_.status, status)) result_.status = status;
      if (!failing_) {
        failing_ = true;
        tell = status;
        grace_ = call_.clock->RunAfter(kGrace, [weak = weak_from_this()] {
          if (auto self = weak.lock()) {
            for (size_t i = 0; i < self->parts_.size(); ++i) {
              absl::Status silent = absl::UnavailableError("did not answer in time that the step has failed");
              silent.SetPayload(kDerivedPayload, absl::Cord("1"));
              self->Answer(i, Way::kOther, silent);
            }
          }
        });
      }
    }
    last = open_ == 0;
  }
  if (!tell.ok() && parts_.size() > 1) TellAll(tell);
  if (last) Finish();
}

void ClusterStep::TellAll(const absl::Status& why) {
  proto::CleanupGraphRequest request;
  request.set_step_id(call_.step_id);
  if (!why.ok()) {
    request.set_status_code(why.raw_code());
    request.set_status_message(std::string(why.message()));
  }
  for (const TaskPart& part : parts_) part.channel->Call(CleanupMethod(), Pack(request), kTellTimeout, [](auto) {});
}

void ClusterStep::Finish() {
  ClusterStepResult result;
  Clock::TimerId grace = 0;
  {
    absl::MutexLock lock(&mu_);
    result = std::move(result_);
    grace = grace_;
  }
  if (grace != 0) call_.clock->CancelTimer(grace);
  for (size_t r = 0; r < result.results.size() && result.status.ok(); ++r) {
    if (!result.results[r].IsValid()) result.status = Internal("no task answered with result ", r, " of the step");
  }
  if (result.status.ok() && parts_.size() > 1 && !call_.in_parts) TellAll(absl::OkStatus());
  if (!result.status.ok()) result.status.ErasePayload(kDerivedPayload);
  done_(std::move(result));
}

void ClusterStep::Cancel(const absl::Status& why) {
  {
    absl::MutexLock lock(&mu_);
    if (open_ == 0) return;
    result_.status = why;
    failing_ = true;
  }
  TellAll(why);
  for (size_t i = 0; i < parts_.size(); ++i) {
    absl::Status ended = why;
    ended.SetPayload(kDerivedPayload, absl::Cord("1"));
    Answer(i, Way::kOther, ended);
  }
}

void ClusterStep::Release() { TellAll(absl::OkStatus()); }

void ClusterStep::LoseTask(const std::string& task, const absl::Status& why) {
  for (size_t i = 0; i < parts_.size(); ++i) {
    if (parts_[i].task == task) Answer(i, Way::kOther, why);
  }
}

}  // namespace sluice
