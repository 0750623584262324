// Hostile messages at every door of a task: the calls of masters and workers, by every way between tasks, and as bytes
// over gRPC. Each call must end, nobody may crash, what is held stays bounded, and the task works afterwards.
//
// SLUICE_FUZZ_ROUNDS=n plays n times as many.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/synchronization/mutex.h"
#include "core/types/allocator.h"
#include "distributed/client/remote_session.h"
#include "distributed/proto/master.pb.h"
#include "distributed/proto/worker.pb.h"
#include "distributed/transport/negotiate.h"
#include "tests/distributed/message_mutator.h"
#include "tests/distributed/server_fixture.h"

namespace sluice {
namespace {

constexpr absl::Duration kCallTime = absl::Milliseconds(300);

int Rounds() {
  const char* rounds = std::getenv("SLUICE_FUZZ_ROUNDS");
  return rounds == nullptr ? 1 : std::max(1, std::atoi(rounds));
}

int64_t ResidentMiB() {
  long pages = 0, resident = 0;
  std::FILE* f = std::fopen("/proc/self/statm", "r");
  EXPECT_EQ(std::fscanf(f, "%ld %ld", &pages, &resident), 2);
  std::fclose(f);
  return resident * 4096 >> 20;
}

using Corpus = std::map<std::string, std::vector<Message>>;

// Keeps what passes.
struct Recorder {
  absl::Mutex mu;
  Corpus corpus ABSL_GUARDED_BY(mu);

  void Note(const std::string& method, const Message& request) {
    absl::MutexLock lock(&mu);
    std::vector<Message>& seen = corpus[method];
    if (seen.size() < 20) seen.push_back(request);
  }
};

class RecordingChannel final : public Channel {
 public:
  RecordingChannel(std::shared_ptr<Channel> to, std::shared_ptr<Recorder> recorder)
      : to_(std::move(to)), recorder_(std::move(recorder)) {}
  void Call(const std::string& method, Message request, absl::Duration timeout, Reply done) override {
    recorder_->Note(method, request);
    to_->Call(method, std::move(request), timeout, std::move(done));
  }
  std::string Describe() const override { return to_->Describe(); }

 private:
  const std::shared_ptr<Channel> to_;
  const std::shared_ptr<Recorder> recorder_;
};

class RecordingTransport final : public Transport {
 public:
  explicit RecordingTransport(std::shared_ptr<Recorder> recorder)
      : recorder_(std::move(recorder)), transport_(*DefaultTransport()) {}
  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string& address, Handler handler) override {
    return transport_->Listen(address, std::move(handler));
  }
  absl::StatusOr<std::shared_ptr<Channel>> Connect(const std::string& address) override {
    ASSIGN_OR_RETURN(std::shared_ptr<Channel> channel, transport_->Connect(address));
    return std::make_shared<RecordingChannel>(std::move(channel), recorder_);
  }

 private:
  const std::shared_ptr<Recorder> recorder_;
  const std::shared_ptr<Transport> transport_;
};

// The calls that are on their way, at most so many.
class Window {
 public:
  Reply Begin(const std::string& what) {
    absl::MutexLock lock(&mu_);
    auto room = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return open_.size() < 32; };
    EXPECT_TRUE(mu_.AwaitWithTimeout(absl::Condition(&room), absl::Minutes(2))) << "nothing ends any more";
    const int64_t id = next_++;
    open_[id] = what;
    return [this, id](absl::StatusOr<Message> reply) {
      absl::MutexLock lock(&mu_);
      EXPECT_EQ(open_.erase(id), 1u) << "answered twice";
      ++codes_[reply.status().code()];
    };
  }
  void Finish() {
    absl::MutexLock lock(&mu_);
    auto none = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return open_.empty(); };
    if (!mu_.AwaitWithTimeout(absl::Condition(&none), absl::Minutes(2))) {
      for (const auto& [id, what] : open_) ADD_FAILURE() << "never answered: " << what;
    }
    std::string text;
    for (const auto& [code, n] : codes_) absl::StrAppend(&text, " ", absl::StatusCodeToString(code), " ", n);
    std::fprintf(stderr, "answers:%s\n", text.c_str());
  }

 private:
  absl::Mutex mu_;
  int64_t next_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<int64_t, std::string> open_ ABSL_GUARDED_BY(mu_);
  std::map<absl::StatusCode, int> codes_ ABSL_GUARDED_BY(mu_);
};

class RpcFuzzTest : public ServerTest {
 protected:
  void SetUp() override {
    options_.transport = std::make_shared<RecordingTransport>(recorder_);
    Cluster(1);
    Build(R"(
      x = Placeholder(dtype=float, shape=[?]) @/job:worker/task:0
      n = Neg(x) @/job:ps/task:0
      y = Add(n, x) @/job:worker/task:0
      v = VarHandleOp(dtype=float, shape=[], shared_name='v') @/job:ps/task:0
      one = Const(value=float[]{1})
      init = AssignVariableOp(v, one))");
    auto channel = std::make_shared<RecordingChannel>(*ConnectToMaster(workers_[0]->target()), recorder_);
    session_ = MakeRemoteSession(channel, "", &graph_);
    ASSERT_EQ(Step(), "float [2] 0 0");
    ASSERT_TRUE(session_->Run({}, {}, {"init"}).ok());
    ASSERT_TRUE(session_->ListDevices().ok());
    ASSERT_TRUE(session_->DumpPlan({{"x:0"}, {"y:0"}, {}}).ok());
    Build("z = Neg(y) @/job:ps/task:0");
    ASSERT_TRUE(session_->Run({{"x:0", Value()}}, {"z:0"}, {}).ok());
    const std::string handle = *session_->SetUpPartialRun({{"x:0"}, {"n:0", "y:0"}, {}});
    std::vector<Tensor> results;
    ASSERT_TRUE(session_->PartialRun(handle, {{"x:0", Value()}}, {"n:0"}, &results).ok());
    proto::ResetRequest reset;
    reset.add_container("nobody");
    recorder_->Note("/sluice.proto.MasterService/Reset", Pack(reset));
    recorder_->Note("/sluice.proto.WorkerService/CleanupAll", Message());
    recorder_->Note("/sluice.proto.WorkerService/WorkerState", Message());
    recorder_->Note("/sluice.proto.MasterService/Nonsense", Message("abc"));
    {
      absl::MutexLock lock(&recorder_->mu);
      corpus_ = recorder_->corpus;
    }
    // Handles, keys and names that hostile messages may hit upon.
    std::set<std::string> words = {"x:0",     "y:0", "n:0", "x", "nobody", "/job:ps/replica:0/task:0/device:CPU:0",
                                   "graph_1", handle};
    for (const auto& [method, messages] : corpus_) {
      methods_.push_back(method);
      for (const Message& m : messages) Words(method, m, &words);
    }
    words_.assign(words.begin(), words.end());
  }

  static Tensor Value() { return Tensor::Vector<float>({1, 2}); }
  std::string Step() { return Text(session_->Run({{"x:0", Value()}}, {"y:0"}, {})); }

  // An empty message of the type that `method` takes; null for none.
  static std::unique_ptr<google::protobuf::Message> RequestOf(const std::string& method) {
    const auto* pool = google::protobuf::DescriptorPool::generated_pool();
    std::string name = method.substr(1);
    name[name.rfind('/')] = '.';
    const auto* found = pool->FindMethodByName(name);
    if (found == nullptr) return nullptr;
    return std::unique_ptr<google::protobuf::Message>(
        google::protobuf::MessageFactory::generated_factory()->GetPrototype(found->input_type())->New());
  }
  static void Words(const std::string& method, const Message& m, std::set<std::string>* words) {
    auto parsed = RequestOf(method);
    if (!parsed || !parsed->ParseFromString(std::string(m.body))) return;
    for (const char* field : {"session_handle", "graph_handle", "rendezvous_key", "partial_run_handle"}) {
      const auto* f = parsed->GetDescriptor()->FindFieldByName(field);
      if (f != nullptr && !f->is_repeated() && f->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_STRING) {
        words->insert(parsed->GetReflection()->GetString(*parsed, f));
      }
    }
  }

  // A recorded message, changed.
  Message Mutated(MessageMutator* mutator, std::string* method) {
    *method = methods_[mutator->Below(static_cast<uint32_t>(methods_.size()))];
    const std::vector<Message>& seen = corpus_[*method];
    Message m = seen[mutator->Below(static_cast<uint32_t>(seen.size()))];
    const uint32_t kind = mutator->Below(8);
    auto parsed = RequestOf(*method);
    if (kind < 4 && parsed && parsed->ParseFromString(std::string(m.body))) {
      mutator->Fields(parsed.get());
      m.body = parsed->SerializeAsString();
    } else if (kind < 6) {
      std::string bytes(m.body);
      mutator->Bytes(&bytes);
      m.body = bytes;
    } else if (kind == 6) {  // at the wrong door
      *method = methods_[mutator->Below(static_cast<uint32_t>(methods_.size()))];
    }
    if (mutator->Below(3) == 0) {
      if (!m.tensors.empty() && mutator->Below(2) == 0)
        m.tensors[mutator->Below(static_cast<uint32_t>(m.tensors.size()))] = mutator->AnyTensor();
      else if (!m.tensors.empty() && mutator->Below(2) == 0)
        m.tensors.pop_back();
      else
        m.tensors.push_back(mutator->AnyTensor());
    }
    // A session that is made by chance is closed, lest thousands of them ask for heartbeats.
    return m;
  }

  void CloseIfMade(Channel* channel, const std::string& method, const absl::StatusOr<Message>& reply) {
    if (!reply.ok() || !absl::EndsWith(method, "/CreateSession")) return;
    proto::CreateSessionResponse made;
    if (!made.ParseFromString(std::string(reply->body))) return;
    proto::CloseSessionRequest close;
    close.set_session_handle(made.session_handle());
    channel->Call("/sluice.proto.MasterService/CloseSession", Pack(close), absl::Seconds(10), [](auto) {});
  }

  // The task is as it was: an old session may have been closed by a hostile message, a new one works.
  void ExpectHealthy() {
    session_ = MakeRemoteSession(*ConnectToMaster(workers_[0]->target()), "", &graph_);
    EXPECT_EQ(Step(), "float [2] 0 0");
    EXPECT_EQ(Text(session_->Run({{"x:0", Value()}}, {"z:0"}, {})), "float [2] -0 -0");
  }

  std::shared_ptr<Recorder> recorder_ =
      std::make_shared<Recorder>();  // servers use it while they stop, after this object
  Corpus corpus_;
  std::vector<std::string> methods_, words_;
  std::unique_ptr<SessionBase> session_;
};

TEST_F(RpcFuzzTest, ChangedMessagesByEveryWay) {
  const int64_t memory = ResidentMiB(), live = HostAllocator()->stats().live_bytes;
  for (const char* way : {"inproc", "grpc", "shm", "unix", "tcp"}) {
    TransportSetOptions set;
    set.force = way;
    auto transport = MakeTransportSet(set);
    const std::shared_ptr<Channel> channels[] = {*transport->Connect(ps_->address()),
                                                 *transport->Connect(workers_[0]->address())};
    for (const auto& c : channels) {
      ASSERT_TRUE(CallAndWait(*c, "/sluice.proto.WorkerService/GetStatus", Message(), absl::Seconds(20)).ok()) << way;
    }
    MessageMutator mutator(7, words_);
    Window window;
    for (int i = 0; i < 1500 * Rounds(); ++i) {
      std::string method;
      Message m = Mutated(&mutator, &method);
      Channel* channel = channels[mutator.Below(2)].get();
      Reply done = window.Begin(absl::StrCat(way, " ", method, " round ", i));
      channel->Call(method, std::move(m), kCallTime, [this, channel, method, done](absl::StatusOr<Message> reply) {
        CloseIfMade(channel, method, reply);
        done(std::move(reply));
      });
    }
    window.Finish();
    ExpectHealthy();
  }
  EXPECT_LT(ResidentMiB() - memory, 600);
  EXPECT_LT(HostAllocator()->stats().live_bytes - live, 200 << 20);
}

TEST_F(RpcFuzzTest, ChangedBytesOverGrpc) {
  grpc::ChannelArguments arguments;
  auto raw = grpc::CreateCustomChannel(workers_[0]->address(), grpc::InsecureChannelCredentials(), arguments);
  grpc::GenericStub stub(raw);
  auto keep = *(*DefaultTransport())->Connect(workers_[0]->address());
  MessageMutator mutator(11, words_);
  Window window;
  struct Call {
    grpc::ClientContext context;
    grpc::ByteBuffer request, reply;
  };
  for (int i = 0; i < 3000 * Rounds(); ++i) {
    std::string method;
    Message m = Mutated(&mutator, &method);
    std::string bytes(m.body);
    auto pieces = EncodeMessage(m);
    if (pieces.ok()) {
      bytes.clear();
      for (const WirePiece& p : *pieces) bytes.append(static_cast<const char*>(p.data()), p.size());
    }
    if (mutator.Below(2) == 0) bytes += mutator.ImpossibleTensor();
    if (mutator.Below(2) == 0) mutator.Bytes(&bytes);
    if (mutator.Below(20) == 0) mutator.Bytes(&method);
    for (char& c : method) {
      if (c <= ' ' || c > '~') c = '_';  // what HTTP/2 itself refuses tests only gRPC
    }
    if (method.empty() || method[0] != '/') method = "/" + method;
    auto call = std::make_shared<Call>();
    call->context.set_deadline(absl::ToChronoTime(absl::Now() + kCallTime));
    grpc::Slice slice(bytes);
    call->request = grpc::ByteBuffer(&slice, 1);
    Reply done = window.Begin(absl::StrCat("grpc bytes ", method, " round ", i));
    stub.UnaryCall(&call->context, method, grpc::StubOptions(), &call->request, &call->reply,
                   [this, call, done, method, channel = keep.get()](grpc::Status status) {
                     absl::StatusOr<Message> reply = Message();
                     if (!status.ok()) {
                       reply = absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
                     } else {
                       grpc::Slice whole;
                       std::string text;
                       if (call->reply.DumpToSingleSlice(&whole).ok())
                         text.assign(reinterpret_cast<const char*>(whole.begin()), whole.size());
                       reply = Message(std::move(text));
                     }
                     CloseIfMade(channel, method, reply);
                     done(std::move(reply));
                   });
  }
  window.Finish();
  ExpectHealthy();
}

// Steps that no master knows: what peers and strangers can make a task hold is limited.
TEST_F(RpcFuzzTest, QuestionsForStepsThatDoNotExistAreLimited) {
  auto channel = *(*DefaultTransport())->Connect(ps_->address());
  std::map<absl::StatusCode, int> codes;
  absl::Mutex mu;
  int open = 0;
  for (int i = 0; i < 30'000; ++i) {
    proto::RecvTensorRequest request;
    request.set_step_id(i + 1);
    request.set_rendezvous_key("/job:ps/replica:0/task:0/device:CPU:0;0;/job:ps/replica:0/task:0/device:CPU:0;e;0:0");
    {
      absl::MutexLock lock(&mu);
      ++open;
    }
    channel->Call("/sluice.proto.WorkerService/RecvTensor", Pack(request), absl::Minutes(2),
                  [&](absl::StatusOr<Message> reply) {
                    absl::MutexLock lock(&mu);
                    ++codes[reply.status().code()];
                    --open;
                  });
  }
  {
    absl::MutexLock lock(&mu);
    auto refused = [&] { return codes[absl::StatusCode::kResourceExhausted] >= 10'000; };
    EXPECT_TRUE(mu.AwaitWithTimeout(absl::Condition(&refused), absl::Minutes(1)));
    EXPECT_GE(open, 1);
  }
  EXPECT_LE(StateOf(*ps_).step_size(), 20'001);
  ExpectHealthy();
  ps_->Stop();  // ends what still waits
  absl::MutexLock lock(&mu);
  auto none = [&] { return open == 0; };
  EXPECT_TRUE(mu.AwaitWithTimeout(absl::Condition(&none), absl::Minutes(1)));
}

}  // namespace
}  // namespace sluice
