#include "distributed/testing/call_recorder.h"

#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "distributed/proto/master.pb.h"
#include "distributed/proto/worker.pb.h"
#include "distributed/rpc/call.h"

namespace sluice {
namespace {

bool IsVariable(const std::string& op) { return op == "VarHandleOp" || op == "VariableV2" || op == "Variable"; }

template <typename Request, typename Fill>
void FillFrom(const Message& message, Event* event, Fill fill) {
  Request request;
  if (Unpack(message, &request).ok()) fill(request, event);
}

// What the request says; false for calls that nobody needs to know of.
bool Describe(absl::string_view method, const Message& message, Event* event) {
  if (method == "RunGraph") {
    FillFrom<proto::RunGraphRequest>(message, event, [](const auto& r, Event* e) {
      e->session = r.session_handle();
      e->graph = r.graph_handle();
      e->step = r.step_id();
      if (r.timeout_ms() > 0) e->limit = absl::Milliseconds(r.timeout_ms());
    });
  } else if (method == "RecvTensor") {
    FillFrom<proto::RecvTensorRequest>(message, event, [](const auto& r, Event* e) { e->step = r.step_id(); });
  } else if (method == "CleanupGraph") {
    FillFrom<proto::CleanupGraphRequest>(message, event, [](const auto& r, Event* e) {
      e->step = r.step_id();
      e->text = r.status_code() != 0 ? "aborted" : "ended";
    });
  } else if (method == "RegisterGraph") {
    FillFrom<proto::RegisterGraphRequest>(message, event, [](const auto& r, Event* e) {
      e->session = r.session_handle();
      for (const auto& part : r.partition()) {
        for (std::string& name : UpdatedVariables(part.graph())) e->updates.push_back(std::move(name));
      }
    });
  } else if (method == "CreateWorkerSession") {
    FillFrom<proto::CreateWorkerSessionRequest>(message, event, [](const auto& r, Event* e) {
      e->session = r.session_handle();
      e->lineage = r.lineage();
      e->epoch = r.epoch();
    });
  } else if (method == "DeleteWorkerSession") {
    FillFrom<proto::DeleteWorkerSessionRequest>(message, event,
                                                [](const auto& r, Event* e) { e->session = r.session_handle(); });
  } else if (method == "RunCallable") {
    FillFrom<proto::RunCallableRequest>(message, event,
                                        [](const auto& r, Event* e) { e->session = r.session_handle(); });
  } else if (method == "RunStep") {
    FillFrom<proto::RunStepRequest>(message, event, [](const auto& r, Event* e) { e->session = r.session_handle(); });
  } else if (method == "CloseSession") {
    FillFrom<proto::CloseSessionRequest>(message, event,
                                         [](const auto& r, Event* e) { e->session = r.session_handle(); });
  } else if (method != "CreateSession") {
    return false;
  }
  return true;
}

}  // namespace

std::vector<std::string> UpdatedVariables(const proto::GraphDef& graph) {
  std::map<std::string, const proto::NodeDef*> nodes;
  std::set<std::string> read, found;
  for (const auto& n : graph.node()) nodes[n.name()] = &n;
  // The variable that an input refers to, through Identity; empty when it is another value.
  const auto variable_of = [&nodes](absl::string_view input) -> std::string {
    for (int i = 0; i < 8; ++i) {
      auto it = nodes.find(std::string(input.substr(0, input.find(':'))));
      if (it == nodes.end()) return "";
      if (IsVariable(it->second->op())) return it->first;
      if (!absl::StrContains(it->second->op(), "Identity") || it->second->input().empty()) return "";
      input = it->second->input(0);
    }
    return "";
  };
  for (const auto& n : graph.node()) {
    if (n.op() == "ReadVariableOp" && n.input_size() > 0) read.insert(variable_of(n.input(0)));
  }
  for (const auto& n : graph.node()) {
    const bool sets = n.op() == "Assign" || n.op() == "AssignVariableOp";
    const bool updates = absl::StrContains(n.op(), "Apply") || absl::StartsWith(n.op(), "AssignAdd") ||
                         absl::StartsWith(n.op(), "AssignSub") || absl::StrContains(n.op(), "Scatter");
    if ((!sets && !updates) || n.input_size() == 0) continue;
    const std::string variable = variable_of(n.input(0));
    if (!variable.empty() && (updates || read.count(variable) > 0)) found.insert(variable);
  }
  return std::vector<std::string>(found.begin(), found.end());
}

Handler RecordCalls(Handler handler, HistorySink sink) {
  struct Shared {
    Handler handler;
    HistorySink sink;
    std::atomic<int64_t> next{1};
  };
  auto shared = std::make_shared<Shared>();
  shared->handler = std::move(handler);
  shared->sink = std::move(sink);
  Event start;
  start.kind = EventKind::kStart;
  shared->sink(std::move(start));
  return [shared](const IncomingCall& call, Message request, Reply reply) {
    const absl::string_view method = call.method.substr(call.method.rfind('/') + 1);
    Event event;
    if (!Describe(method, request, &event)) return shared->handler(call, std::move(request), std::move(reply));
    event.kind = EventKind::kArrive;
    event.method = std::string(method);
    event.call = shared->next.fetch_add(1);
    if (event.limit == absl::InfiniteDuration()) event.limit = call.timeout;
    shared->sink(event);
    event.kind = EventKind::kAnswer;
    event.updates.clear();
    shared->handler(
        call, std::move(request),
        [shared, event = std::move(event), reply = std::move(reply)](absl::StatusOr<Message> answer) mutable {
          event.code = answer.status().raw_code();
          if (answer.ok() && event.method == "RegisterGraph") {
            FillFrom<proto::RegisterGraphResponse>(*answer, &event,
                                                   [](const auto& r, Event* e) { e->graph = r.graph_handle(); });
          }
          shared->sink(std::move(event));
          reply(std::move(answer));
        });
  };
}

}  // namespace sluice
