#include "distributed/rpc/byte_call.h"

#include <grpcpp/generic/generic_stub.h>

#include <algorithm>
#include <array>
#include <map>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "core/base/status.h"
#include "distributed/rpc/grpc_internal.h"
#include "distributed/rpc/tls_diagnosis.h"

namespace sluice {
namespace {

constexpr absl::Duration kFinishTimeout = absl::Seconds(5);
constexpr absl::Duration kDiagnosisTimeout = absl::Seconds(2), kPlainDiagnosisTimeout = absl::Milliseconds(500);

constexpr absl::Duration kRemembered = absl::Seconds(10);

struct Findings {
  absl::Mutex mu;
  std::map<std::string, std::pair<absl::Time, std::string>> by_key ABSL_GUARDED_BY(mu);
};
Findings& FindingsOfProcess() {
  static auto* findings = new Findings;
  return *findings;
}

grpc::ChannelArguments Arguments() {
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(-1);
  // Only while something is asked, and not too often: services refuse clients that ping them more.
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  // A service that was down a moment ago is asked anew.
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  args.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  args.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  return args;
}

}  // namespace

struct ByteCall::Impl {
  // What the call has asked gRPC to do; the index is its tag.
  enum Work { kStart, kWrite, kRead, kFinish, kNumWorks };
  struct State {
    bool asked = false;
    bool done = false;
    bool ok = false;
  };

  Impl(const std::string& a, const std::string& m, const GrpcOptions& o, std::shared_ptr<grpc::Channel> channel)
      : address(a), method(m), options(o), stub(std::move(channel)) {}

  void* Ask(Work work) {
    works[work] = {true, false, false};
    return reinterpret_cast<void*>(static_cast<uintptr_t>(work));
  }

  // Waits until the work is done; false when the time is up.
  bool Await(Work work, absl::Duration timeout) {
    const gpr_timespec deadline = grpc_internal::DeadlineAfter(timeout);
    while (!works[work].done) {
      void* tag = nullptr;
      bool ok = false;
      if (queue.AsyncNext(&tag, &ok, deadline) != grpc::CompletionQueue::GOT_EVENT) return false;
      State& state = works[static_cast<Work>(reinterpret_cast<uintptr_t>(tag))];
      state.done = true;
      state.ok = ok;
    }
    return true;
  }

  std::string What() const { return absl::StrCat(method, " at ", address); }

  absl::Status TimedOut(absl::string_view waiting, absl::Duration timeout) const {
    return absl::DeadlineExceededError(absl::StrCat(What(), " ", waiting, " within ", absl::FormatDuration(timeout)));
  }

  // How the call ended. A connection that failed is looked into until `until`: gRPC does not say what is wrong with a
  // certificate.
  absl::Status End(absl::Time until) {
    if (!works[kFinish].asked) call->Finish(&status, Ask(kFinish));
    if (!Await(kFinish, kFinishTimeout)) {
      context.TryCancel();
      return TimedOut("did not end", kFinishTimeout);
    }
    if (status.ok()) return absl::OutOfRangeError(absl::StrCat(What(), " has ended"));
    if (status.error_code() == grpc::StatusCode::UNAVAILABLE && !answered) {
      const absl::Duration limit =
          std::min(options.root_certificates.empty() ? kPlainDiagnosisTimeout : kDiagnosisTimeout, until - absl::Now());
      const std::string why = Diagnose(limit);
      if (!why.empty())
        return absl::UnavailableError(absl::StrCat(What(), ": ", why, " [", status.error_message(), "]"));
    }
    return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                        absl::StrCat(What(), ": ", status.error_message()));
  }

  // What is wrong with the TLS of the two; what was found a moment ago when there is no time to look.
  std::string Diagnose(absl::Duration limit) const {
    const std::string key = absl::StrCat(address, "\n", options.root_certificates, options.certificate);
    std::string why = limit > absl::Milliseconds(20) ? DiagnoseTls(address, options, limit) : std::string();
    Findings& findings = FindingsOfProcess();
    absl::MutexLock lock(&findings.mu);
    if (findings.by_key.size() > 1000) findings.by_key.clear();
    auto& [when, found] = findings.by_key[key];
    if (!why.empty()) {
      when = absl::Now();
      found = why;
    }
    return absl::Now() - when < kRemembered ? found : "";
  }

  const std::string address;
  const std::string method;
  const GrpcOptions options;
  bool answered = false;
  grpc::GenericStub stub;
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call;
  std::array<State, kNumWorks> works;
  grpc::ByteBuffer received;
  grpc::Status status;
};

absl::StatusOr<std::unique_ptr<ByteCall>> ByteCall::Start(const std::string& address, const std::string& method,
                                                          const GrpcOptions& options, absl::Duration limit) {
  grpc_internal::KeepGrpcQuiet();
  RETURN_IF_ERROR(grpc_internal::CheckAddress(address));
  if (method.empty() || method[0] != '/') {
    return InvalidArgument("the method '", method, "' is not of the form /package.Service/Method");
  }
  ASSIGN_OR_RETURN(auto credentials, grpc_internal::ClientCredentials(options));
  std::unique_ptr<ByteCall> made(new ByteCall);
  made->impl_ =
      std::make_unique<Impl>(address, method, options, grpc::CreateCustomChannel(address, credentials, Arguments()));
  Impl& i = *made->impl_;
  if (limit < absl::InfiniteDuration()) i.context.set_deadline(grpc_internal::DeadlineAfter(limit));
  i.call = i.stub.PrepareCall(&i.context, method, &i.queue);
  i.call->StartCall(i.Ask(Impl::kStart));
  return made;
}

ByteCall::~ByteCall() {
  impl_->context.TryCancel();
  impl_->queue.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (impl_->queue.Next(&tag, &ok)) {  // what was asked ends at once, now that the call is cancelled
  }
}

absl::Status ByteCall::Send(absl::string_view message, bool last, absl::Duration timeout) {
  Impl& i = *impl_;
  const absl::Time until = absl::Now() + timeout;
  if (!i.Await(Impl::kStart, timeout)) return i.TimedOut("was not reached", timeout);
  if (!i.works[Impl::kStart].ok) return i.End(until);
  if (i.works[Impl::kWrite].asked && !i.works[Impl::kWrite].done) {
    return FailedPrecondition(i.What(), ": the message before was not sent in time; start another call");
  }
  const grpc::Slice slice(message.data(), message.size());
  const grpc::ByteBuffer bytes(&slice, 1);
  if (last) {
    i.call->WriteLast(bytes, grpc::WriteOptions(), i.Ask(Impl::kWrite));
  } else {
    i.call->Write(bytes, i.Ask(Impl::kWrite));
  }
  if (!i.Await(Impl::kWrite, timeout)) return i.TimedOut("took no message", timeout);
  return i.works[Impl::kWrite].ok ? absl::OkStatus() : i.End(until);
}

absl::StatusOr<std::string> ByteCall::Receive(absl::Duration timeout) {
  Impl& i = *impl_;
  const absl::Time until = absl::Now() + timeout;
  if (!i.Await(Impl::kStart, timeout)) return i.TimedOut("was not reached", timeout);
  if (!i.works[Impl::kStart].ok) return i.End(until);
  if (!i.works[Impl::kRead].asked) i.call->Read(&i.received, i.Ask(Impl::kRead));
  if (!i.Await(Impl::kRead, timeout)) return i.TimedOut("sent nothing", timeout);
  if (!i.works[Impl::kRead].ok) return i.End(until);
  i.works[Impl::kRead] = {};
  i.answered = true;
  std::vector<grpc::Slice> slices;
  if (!i.received.Dump(&slices).ok()) return Internal(i.What(), ": a message that cannot be read");
  std::string message;
  for (const grpc::Slice& s : slices) message.append(reinterpret_cast<const char*>(s.begin()), s.size());
  i.received.Clear();
  return message;
}

void ByteCall::Cancel() { impl_->context.TryCancel(); }

}  // namespace sluice
