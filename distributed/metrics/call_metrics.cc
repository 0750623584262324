#include "distributed/metrics/call_metrics.h"

#include <utility>

#include "absl/time/clock.h"

namespace sluice {
namespace {

int64_t TensorBytes(const Message& message) {
  int64_t bytes = 0;
  for (const Tensor& t : message.tensors) {
    if (t.IsValid()) bytes += static_cast<int64_t>(t.num_bytes());
  }
  return bytes;
}

}  // namespace

CallMetrics::Method CallMetrics::MethodOf(Metrics* metrics, const std::string& name) {
  const MetricLabels labels = {{"method", name}};
  Method m;
  m.open = &metrics->GaugeOf("sluice_calls_open", "Calls that were received and not answered yet.", labels);
  m.seconds = &metrics->HistogramOf("sluice_call_seconds", "Time between receiving and answering a call.", labels,
                                    SecondsBuckets());
  m.received = &metrics->CounterOf("sluice_call_received_tensor_bytes_total", "Bytes of tensors in requests.", labels);
  m.sent = &metrics->CounterOf("sluice_call_sent_tensor_bytes_total", "Bytes of tensors in replies.", labels);
  for (int c = 0; c < kStatusCodes; ++c) {
    m.ended[c] = &metrics->CounterOf("sluice_calls_total", "Calls that were answered, by the code of the answer.",
                                     {{"method", name}, {"code", CodeName(static_cast<absl::StatusCode>(c))}});
  }
  return m;
}

CallMetrics::CallMetrics(std::shared_ptr<Metrics> metrics, const std::vector<std::string>& methods)
    : metrics_(std::move(metrics)), other_(MethodOf(metrics_.get(), "other")) {
  for (const std::string& name : methods) {
    // "/sluice.proto.WorkerService/RunGraph" is "WorkerService/RunGraph".
    methods_[name] = MethodOf(metrics_.get(), name.substr(name.rfind('.') + 1));
  }
}

Reply CallMetrics::Count(absl::string_view method, const Message& request, Reply reply) const {
  auto it = methods_.find(method);
  const Method* m = it != methods_.end() ? &it->second : &other_;
  m->open->Add(1);
  if (!request.tensors.empty()) m->received->Add(TensorBytes(request));
  return [self = shared_from_this(), m, began = absl::GetCurrentTimeNanos(),
          reply = std::move(reply)](absl::StatusOr<Message> answer) {
    m->open->Add(-1);
    const int code = static_cast<int>(answer.status().code());
    m->ended[code >= 0 && code < kStatusCodes ? code : static_cast<int>(absl::StatusCode::kUnknown)]->Add();
    m->seconds->Observe(1e-9 * static_cast<double>(absl::GetCurrentTimeNanos() - began));
    if (answer.ok() && !answer->tensors.empty()) m->sent->Add(TensorBytes(*answer));
    reply(std::move(answer));
  };
}

}  // namespace sluice
