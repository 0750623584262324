#include "distributed/testing/message_faults.h"

#include <random>
#include <utility>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "core/base/status.h"

namespace sluice {
namespace {

constexpr absl::Duration kShort = absl::Milliseconds(20);
constexpr absl::Duration kLong = absl::Milliseconds(500);

bool IsFaulted(absl::string_view method) {
  for (const char* name : {"RunGraph", "RecvTensor", "CleanupGraph", "GetStatus", "RunCallable", "RunStep"}) {
    if (method == name) return true;
  }
  return false;
}

// Draws the luck of messages.
class Faults {
 public:
  Faults(const MessageFaults& f, Clock* c, HistorySink s) : faults(f), clock(c), sink_(std::move(s)), random_(f.seed) {}

  double Chance() {
    absl::MutexLock lock(&mu_);
    return std::uniform_real_distribution<double>(0, 1)(random_);
  }
  void Note(const char* what, absl::string_view method) {
    if (!sink_) return;
    Event event;
    event.kind = EventKind::kFault;
    event.method = std::string(method);
    event.text = what;
    sink_(std::move(event));
  }

  const MessageFaults faults;
  Clock* const clock;

 private:
  const HistorySink sink_;
  absl::Mutex mu_;
  std::mt19937_64 random_ ABSL_GUARDED_BY(mu_);
};

absl::Status Broken(const std::string& method, const Channel& channel) {
  absl::Status status = absl::UnavailableError(absl::StrCat(
      method, " over ", channel.Describe(), ": the connection broke (a message fault of SLUICE_MESSAGE_FAULTS)"));
  status.SetPayload(kTransportPayload, absl::Cord("message fault"));
  return status;
}

class FaultyChannel final : public Channel {
 public:
  FaultyChannel(std::shared_ptr<Channel> channel, std::shared_ptr<Faults> faults)
      : channel_(std::move(channel)), faults_(std::move(faults)) {}

  void Call(const std::string& method, Message request, absl::Duration timeout, Reply done) override {
    const absl::string_view name = absl::string_view(method).substr(method.rfind('/') + 1);
    if (!IsFaulted(name)) return channel_->Call(method, std::move(request), timeout, std::move(done));
    const MessageFaults& f = faults_->faults;
    double luck = faults_->Chance();
    const auto hit = [&luck](double part) { return (luck -= part) < 0; };
    if (hit(f.drop / 2)) {
      faults_->Note("lost", name);
      faults_->clock->RunAfter(absl::ZeroDuration(),
                               [channel = channel_, method, done] { done(Broken(method, *channel)); });
      return;
    }
    if (hit(f.drop / 2)) {
      faults_->Note("answer lost", name);
      done = [broken = Broken(method, *channel_), done = std::move(done)](absl::StatusOr<Message> reply) {
        done(reply.ok() ? broken : reply.status());
      };
    } else if (hit(f.duplicate)) {
      faults_->Note("doubled", name);
      // The first copy is the one that is answered: it goes first, since what it asks for may be there once.
      channel_->Call(method, request, timeout, std::move(done));
      return Later(kShort, method, std::move(request), timeout, [](auto) {});
    } else if (hit(f.reorder)) {
      faults_->Note("reordered", name);
      return Later(kShort, method, std::move(request), timeout, std::move(done));
    } else if (hit(f.delay)) {
      faults_->Note("delayed", name);
      return Later(kLong, method, std::move(request), timeout, std::move(done));
    }
    channel_->Call(method, std::move(request), timeout, std::move(done));
  }

  std::string Describe() const override { return channel_->Describe(); }

 private:
  void Later(absl::Duration most, const std::string& method, Message request, absl::Duration timeout, Reply done) {
    faults_->clock->RunAfter(most * faults_->Chance(),
                             [channel = channel_, method, request = std::move(request), timeout,
                              done = std::move(done)] { channel->Call(method, request, timeout, done); });
  }

  const std::shared_ptr<Channel> channel_;
  const std::shared_ptr<Faults> faults_;
};

class FaultyTransport final : public Transport {
 public:
  FaultyTransport(std::shared_ptr<Transport> transport, std::shared_ptr<Faults> faults)
      : transport_(std::move(transport)), faults_(std::move(faults)) {}
  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string& address, Handler handler) override {
    return transport_->Listen(address, std::move(handler));
  }
  absl::StatusOr<std::shared_ptr<Channel>> Connect(const std::string& address) override {
    ASSIGN_OR_RETURN(std::shared_ptr<Channel> channel, transport_->Connect(address));
    return std::shared_ptr<Channel>(new FaultyChannel(std::move(channel), faults_));
  }

 private:
  const std::shared_ptr<Transport> transport_;
  const std::shared_ptr<Faults> faults_;
};

}  // namespace

absl::StatusOr<MessageFaults> ParseMessageFaults(absl::string_view text) {
  MessageFaults faults;
  for (absl::string_view item : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    const std::pair<absl::string_view, absl::string_view> field = absl::StrSplit(item, absl::MaxSplits('=', 1));
    double* part = field.first == "drop"        ? &faults.drop
                   : field.first == "duplicate" ? &faults.duplicate
                   : field.first == "reorder"   ? &faults.reorder
                   : field.first == "delay"     ? &faults.delay
                                                : nullptr;
    const bool good = part == nullptr ? field.first == "seed" && absl::SimpleAtoi(field.second, &faults.seed)
                                      : absl::SimpleAtod(field.second, part) && *part >= 0 && *part <= 1;
    if (!good) {
      return InvalidArgument("message faults have '", item,
                             "': wanted seed=NUMBER, and drop, duplicate, reorder, delay "
                             "between 0 and 1");
    }
  }
  return faults;
}

std::unique_ptr<Transport> MakeFaultyTransport(std::shared_ptr<Transport> transport, const MessageFaults& faults,
                                               Clock* clock, HistorySink sink) {
  return std::make_unique<FaultyTransport>(std::move(transport),
                                           std::make_shared<Faults>(faults, clock, std::move(sink)));
}

}  // namespace sluice
