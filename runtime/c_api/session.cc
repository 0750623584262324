// Sessions of the C boundary.
#include <thread>

#include "core/proto/config.pb.h"
#include "core/proto/graph.pb.h"
#include "core/proto/step_stats.pb.h"
#include "runtime/c_api/internal.h"
#include "runtime/session/session_options.h"
#include "runtime/session/step_stats.h"

using sluice::EndpointName;
using sluice::RunMetadata;
using sluice::ToNode;

namespace {

absl::StatusOr<sluice::SessionOptions> ParseConfig(const void* data, size_t size) {
  sluice::proto::ConfigProto config;
  if (data != nullptr && !config.ParseFromArray(data, static_cast<int>(size)))
    return sluice::InvalidArgument("these bytes are not a serialised ConfigProto");
  return sluice::SessionOptionsFromProto(config);
}

sluice::CallableSpec SpecOf(const SL_Output* feeds, int num_feeds, const SL_Output* fetches, int num_fetches,
                            SL_Operation* const* targets, int num_targets) {
  sluice::CallableSpec spec;
  for (int i = 0; i < num_feeds; ++i) spec.feeds.push_back(EndpointName(feeds[i]));
  for (int i = 0; i < num_fetches; ++i) spec.fetches.push_back(EndpointName(fetches[i]));
  for (int i = 0; i < num_targets; ++i) spec.targets.push_back(ToNode(targets[i])->name());
  return spec;
}

std::string Serialise(const RunMetadata& metadata) {
  if (!metadata.message.empty()) return metadata.message;
  sluice::proto::RunMetadata proto;
  sluice::StepStatsToProto(metadata.stats, proto.mutable_step_stats());
  for (const std::string& graph : metadata.partition_graphs) proto.add_partition_graphs()->ParseFromString(graph);
  return proto.SerializeAsString();
}

}  // namespace

SL_Session* SL_NewSession(SL_Graph* graph, const void* config, size_t size, SL_Status* status) {
  auto options = ParseConfig(config, size);
  if (options.ok() && !sluice::GetProcessEnvironment().status.ok()) options = sluice::GetProcessEnvironment().status;
  status->Set(options.status());
  if (!options.ok()) return nullptr;
  auto* session = new SL_Session;
  session->graph = graph->graph;
  session->session =
      std::make_unique<sluice::Session>(sluice::GetProcessEnvironment().view(), *options, graph->graph.get());
  return session;
}

void SL_DeleteSession(SL_Session* session) { delete session; }
void SL_CloseSession(SL_Session* session, SL_Status* status) { status->Set(session->session->Close()); }

void SL_ResetSession(SL_Session* session, const char* const* containers, int count, SL_Status* status) {
  status->Set(session->session->Reset(std::vector<std::string>(containers, containers + count)));
}

SL_DeviceList* SL_ListDevices(SL_Session* session, SL_Status* status) {
  auto devices = session->session->ListDevices();
  status->Set(devices.status());
  return devices.ok() ? new SL_DeviceList{*std::move(devices)} : nullptr;
}
void SL_DeleteDeviceList(SL_DeviceList* list) { delete list; }
int SL_NumDevices(const SL_DeviceList* list) { return static_cast<int>(list->devices.size()); }
const char* SL_DeviceName(const SL_DeviceList* list, int i) { return list->devices[i].name.c_str(); }
const char* SL_DeviceType(const SL_DeviceList* list, int i) { return list->devices[i].type.c_str(); }
int64_t SL_DeviceMemory(const SL_DeviceList* list, int i) { return list->devices[i].memory_limit; }
uint64_t SL_DeviceIncarnation(const SL_DeviceList* list, int i) { return list->devices[i].incarnation; }

SL_Callable* SL_MakeCallable(SL_Session* session, const SL_Output* feeds, int num_feeds, const SL_Output* fetches,
                             int num_fetches, SL_Operation* const* targets, int num_targets, SL_Status* status) {
  sluice::CallableSpec spec = SpecOf(feeds, num_feeds, fetches, num_fetches, targets, num_targets);
  auto callable = session->session->MakeCallable(spec);
  status->Set(callable.status());
  if (!callable.ok()) return nullptr;
  auto* made = new SL_Callable;
  made->session = session;
  made->callable = *std::move(callable);
  made->spec = std::move(spec);
  return made;
}

void SL_DeleteCallable(SL_Callable* callable) { delete callable; }

void SL_RunCallable(SL_Callable* callable, SL_Tensor* const* feeds, SL_Tensor** fetches, const SL_RunOptions* options,
                    SL_Status* status) {
  absl::InlinedVector<sluice::Tensor, 4> inputs;
  inputs.reserve(callable->spec.feeds.size());
  for (size_t i = 0; i < callable->spec.feeds.size(); ++i) inputs.push_back(feeds[i]->tensor);
  std::vector<sluice::Tensor> outputs;
  outputs.reserve(callable->spec.fetches.size());
  sluice::RunOptions run;
  RunMetadata metadata;
  bool want_metadata = false;
  if (options != nullptr) {
    run.trace = options->trace != 0;
    run.partition_graphs = options->partition_graphs != 0;
    run.timeout_ms = options->timeout_ms;
    if (options->cancellation != nullptr) run.cancellation = &options->cancellation->token;
    want_metadata = options->metadata != nullptr;
  }
  absl::Status s = callable->session->session->RunCallable(*callable->callable, inputs, &outputs, run,
                                                           want_metadata ? &metadata : nullptr);
  if (ABSL_PREDICT_FALSE(!s.ok())) {
    status->Set(s);
    return;
  }
  status->code = 0;
  for (size_t i = 0; i < outputs.size(); ++i) fetches[i] = new SL_Tensor{std::move(outputs[i])};
  if (want_metadata) *options->metadata = sluice::NewBuffer(Serialise(metadata));
}

SL_Buffer* SL_SetUpPartialRun(SL_Session* session, const SL_Output* feeds, int num_feeds, const SL_Output* fetches,
                              int num_fetches, SL_Operation* const* targets, int num_targets, SL_Status* status) {
  auto handle = session->session->SetUpPartialRun(SpecOf(feeds, num_feeds, fetches, num_fetches, targets, num_targets));
  status->Set(handle.status());
  return handle.ok() ? sluice::NewBuffer(*std::move(handle)) : nullptr;
}

void SL_PartialRun(SL_Session* session, const char* handle, const SL_Output* feeds, SL_Tensor* const* values,
                   int num_feeds, const SL_Output* fetches, int num_fetches, SL_Tensor** results,
                   const SL_RunOptions* options, SL_Status* status) {
  std::vector<std::pair<std::string, sluice::Tensor>> inputs;
  for (int i = 0; i < num_feeds; ++i) {
    // The step may still read it when the caller has its memory back.
    sluice::Tensor value = values[i]->tensor;
    if (value.IsValid() && sluice::IsPlain(value.dtype())) {
      absl::StatusOr<sluice::Tensor> copy = value.Clone();
      if (!copy.ok()) return status->Set(copy.status());
      value = *std::move(copy);
    }
    inputs.emplace_back(EndpointName(feeds[i]), std::move(value));
  }
  std::vector<std::string> names;
  for (int i = 0; i < num_fetches; ++i) names.push_back(EndpointName(fetches[i]));
  sluice::RunOptions run;
  if (options != nullptr) {
    run.timeout_ms = options->timeout_ms;
    if (options->cancellation != nullptr) run.cancellation = &options->cancellation->token;
  }
  std::vector<sluice::Tensor> outputs;
  status->Set(session->session->PartialRun(handle, inputs, names, &outputs, run));
  for (size_t i = 0; status->code == 0 && i < outputs.size(); ++i) results[i] = new SL_Tensor{std::move(outputs[i])};
}

SL_Buffer* SL_ExplainPlacement(SL_Callable* callable, SL_Status* status) {
  auto text = callable->session->session->ExplainPlacement(callable->spec);
  status->Set(text.status());
  return text.ok() ? sluice::NewBuffer(*std::move(text)) : nullptr;
}

SL_Buffer* SL_DumpPlan(SL_Callable* callable, SL_Status* status) {
  auto text = callable->session->session->DumpPlan(callable->spec);
  status->Set(text.status());
  return text.ok() ? sluice::NewBuffer(*std::move(text)) : nullptr;
}
