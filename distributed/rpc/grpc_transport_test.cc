#include "distributed/rpc/grpc_transport.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "distributed/proto/worker.pb.h"
#include "distributed/rpc/reflection.pb.h"
#include "distributed/rpc/transport_conformance.h"

namespace sluice {
namespace {

std::vector<TransportCase> Cases() {
  auto make = [] { return MakeGrpcTransport(GrpcOptions()); };
  return {
      {"grpc", make, [] { return "localhost:0"; }},
      {"grpc_unix", make,
       [] {
         static std::atomic<int> count{0};
         return absl::StrCat("unix:/tmp/sluice_grpc_test_", getpid(), "_", count++);
       }},
  };
}

INSTANTIATE_TEST_SUITE_P(Grpc, TransportConformance, testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

std::string ReadFile(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// Certificates by the openssl command: an authority, a listener, a client, and an expired one.
class GrpcTlsTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = testing::TempDir() + "/sluice_tls_XXXXXX";
    ASSERT_NE(mkdtemp(&dir_[0]), nullptr);
    Run("openssl ecparam -name prime256v1 -genkey -noout -out ca.key");
    Run("openssl req -x509 -new -key ca.key -days 2 -subj /CN=authority -out ca.pem");
    Certificate("server", "-days 2");
    Certificate("client", "-days 2");
    Certificate("expired", "-days -1");
    root_ = ReadFile(dir_ + "/ca.pem");
  }
  void TearDown() override {
    if (std::system(("rm -rf " + dir_).c_str()) != 0) ADD_FAILURE();
  }
  void Run(const std::string& command) {
    ASSERT_EQ(std::system(absl::StrCat("cd ", dir_, " && ", command, " >log 2>&1").c_str()), 0)
        << command << "\n"
        << ReadFile(dir_ + "/log");
  }
  void Certificate(const std::string& name, const std::string& days,
                   const std::string& names = "DNS:localhost,IP:127.0.0.1") {
    Run(absl::StrCat("openssl ecparam -name prime256v1 -genkey -noout -out ", name, ".key"));
    Run(absl::StrCat("openssl req -new -key ", name, ".key -subj /CN=", name, " -out ", name, ".csr"));
    std::ofstream(dir_ + "/san") << "subjectAltName=" << names << "\n";
    Run(absl::StrCat("openssl x509 -req -in ", name, ".csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile san ",
                     days, " -out ", name, ".pem"));
  }
  GrpcOptions Options(const std::string& name) {
    GrpcOptions options;
    options.root_certificates = root_;
    if (!name.empty()) {
      options.certificate = ReadFile(absl::StrCat(dir_, "/", name, ".pem"));
      options.private_key = ReadFile(absl::StrCat(dir_, "/", name, ".key"));
    }
    return options;
  }
  static Handler Echo() {
    return [](const IncomingCall&, Message request, Reply reply) { reply(std::move(request)); };
  }
  absl::Status Talk(const GrpcOptions& client, const std::string& address) {
    auto transport = MakeGrpcTransport(client);
    auto channel = transport->Connect(address);
    if (!channel.ok()) return channel.status();
    return CallAndWait(channel->get(), "/test/Echo", Message(), absl::Seconds(20)).status();
  }

  std::string dir_, root_;
};

TEST_F(GrpcTlsTest, TlsCarriesCallsAndRefusesStrangers) {
  auto listener = MakeGrpcTransport(Options("server"))->Listen("localhost:0", Echo());
  ASSERT_TRUE(listener.ok()) << listener.status();
  const std::string address = (*listener)->address();
  EXPECT_EQ(Talk(Options(""), address), absl::OkStatus());
  EXPECT_EQ(Talk(GrpcOptions(), address).code(), absl::StatusCode::kUnavailable);  // without TLS
  Run("openssl ecparam -name prime256v1 -genkey -noout -out other.key");
  Run("openssl req -x509 -new -key other.key -days 2 -subj /CN=other -out other.pem");
  GrpcOptions other;
  other.root_certificates = ReadFile(dir_ + "/other.pem");
  const absl::Status status = Talk(other, address);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(absl::StrContains(status.message(), "root certificates")) << status;
}

TEST_F(GrpcTlsTest, MutualTlsWantsACertificate) {
  GrpcOptions options = Options("server");
  options.require_client_certificate = true;
  auto listener = MakeGrpcTransport(options)->Listen("localhost:0", Echo());
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_EQ(Talk(Options("client"), (*listener)->address()), absl::OkStatus());
  EXPECT_EQ(Talk(Options(""), (*listener)->address()).code(), absl::StatusCode::kUnavailable);
}

TEST_F(GrpcTlsTest, ExpiredCertificateIsNamed) {
  const absl::Status listen = MakeGrpcTransport(Options("expired"))->Listen("localhost:0", Echo()).status();
  EXPECT_TRUE(absl::StrContains(listen.message(), "this task's TLS certificate expired on")) << listen;
  const absl::Status connect = MakeGrpcTransport(Options("expired"))->Connect("localhost:1").status();
  EXPECT_TRUE(absl::StrContains(connect.message(), "expired on")) << connect;
  GrpcOptions wrong_key = Options("server");
  wrong_key.private_key = Options("client").private_key;
  const absl::Status mixed = MakeGrpcTransport(wrong_key)->Listen("localhost:0", Echo()).status();
  EXPECT_TRUE(absl::StrContains(mixed.message(), "does not belong")) << mixed;
  GrpcOptions rubbish = Options("server");
  rubbish.certificate = "rubbish";
  EXPECT_TRUE(absl::StrContains(MakeGrpcTransport(rubbish)->Listen("localhost:0", Echo()).status().message(), "PEM"));
}

// A peer whose own certificate is wrong: our listeners refuse to start with such a one.
class ForeignListener {
 public:
  explicit ForeignListener(const GrpcOptions& options) {
    grpc::SslServerCredentialsOptions ssl;
    ssl.pem_key_cert_pairs.push_back({options.private_key, options.certificate});
    grpc::ServerBuilder builder;
    builder.RegisterAsyncGenericService(&service_);
    queue_ = builder.AddCompletionQueue();
    builder.AddListeningPort("localhost:0", grpc::SslServerCredentials(ssl), &port_);
    server_ = builder.BuildAndStart();
  }
  ~ForeignListener() {
    server_->Shutdown(std::chrono::system_clock::now());
    queue_->Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_->Next(&tag, &ok)) {
    }
  }
  std::string address() const { return absl::StrCat("localhost:", port_); }

 private:
  int port_ = 0;
  grpc::AsyncGenericService service_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(GrpcTlsTest, WhatIsWrongWithAPeerIsSaidInTime) {
  Run("openssl ecparam -name prime256v1 -genkey -noout -out other.key");
  Run("openssl req -x509 -new -key other.key -days 2 -subj /CN=stranger -out other.pem");
  Certificate("elsewhere", "-days 2", "DNS:ps.example.com");
  GrpcOptions other = Options("");
  other.root_certificates = ReadFile(dir_ + "/other.pem");
  GrpcOptions foreign = Options("");  // shows a certificate that the listener's authority did not sign
  foreign.certificate = ReadFile(dir_ + "/other.pem");
  foreign.private_key = ReadFile(dir_ + "/other.key");
  GrpcOptions mutual = Options("server");
  mutual.require_client_certificate = true;
  const struct {
    const char* what;
    GrpcOptions listener;
    GrpcOptions client;
    std::vector<std::string> found;
  } rows[] = {
      {"expired", Options("expired"), Options(""), {"its certificate (CN = expired) expired on ", "renew it"}},
      {"name", Options("elsewhere"), Options(""), {"its certificate is for ps.example.com, not for 'localhost'"}},
      {"authority",
       Options("server"),
       other,
       {"its certificate (CN = server) was signed by CN = authority", "SLUICE_TLS_ROOT"}},
      {"plain client", Options("server"), GrpcOptions(), {"it speaks TLS and this task does not", "SLUICE_TLS_ROOT"}},
      {"plain listener", GrpcOptions(), Options(""), {"it does not speak TLS, and this task does", "SLUICE_TLS_CERT"}},
      {"no client certificate", mutual, Options(""), {"it wants a certificate of its callers", "SLUICE_TLS_CERT"}},
      {"foreign client", mutual, foreign, {"this task's certificate", "SLUICE_TLS_ROOT"}},
  };
  for (const auto& row : rows) {
    std::string address;
    std::unique_ptr<Listener> ours;
    std::unique_ptr<ForeignListener> theirs;
    if (row.what == absl::string_view("expired")) {
      theirs = std::make_unique<ForeignListener>(row.listener);
      address = theirs->address();
    } else {
      auto listener = MakeGrpcTransport(row.listener)->Listen("localhost:0", Echo());
      ASSERT_TRUE(listener.ok()) << listener.status();
      ours = *std::move(listener);
      address = ours->address();
    }
    const absl::Time began = absl::Now();
    const absl::Status status = Talk(row.client, address);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << row.what << ": " << status;
    EXPECT_LT(absl::Now() - began, absl::Seconds(20)) << row.what;
    for (const std::string& text : row.found) {
      EXPECT_TRUE(absl::StrContains(status.message(), text)) << row.what << ": " << status;
    }
    EXPECT_TRUE(absl::StrContains(status.message(), address)) << row.what << ": " << status;
  }
}

TEST(GrpcTransportTest, BindsOnlyToThisMachineUnlessAllowed) {
  auto echo = [](const IncomingCall&, Message request, Reply reply) { reply(std::move(request)); };
  const absl::Status status = MakeGrpcTransport(GrpcOptions())->Listen("0.0.0.0:0", echo).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(status.message(), "insecure_bind")) << status;
  GrpcOptions allowed;
  allowed.insecure_bind = true;
  EXPECT_TRUE(MakeGrpcTransport(allowed)->Listen("0.0.0.0:0", echo).ok());
}

TEST(GrpcTransportTest, PortInUseIsNamedWithTheCure) {
  auto transport = MakeGrpcTransport(GrpcOptions());
  auto echo = [](const IncomingCall&, Message request, Reply reply) { reply(std::move(request)); };
  auto first = transport->Listen("localhost:0", echo);
  ASSERT_TRUE(first.ok()) << first.status();
  for (const std::string& address : {(*first)->address(), "127.0.0.1" + (*first)->address().substr(9)}) {
    const absl::Status status = transport->Listen(address, echo).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), address)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "choose another port")) << status;
  }
}

// Callers of "localhost" may go to either address.
TEST(GrpcTransportTest, APortOfTheOtherLoopbackAddressIsInUse) {
  auto echo = [](const IncomingCall&, Message request, Reply reply) { reply(std::move(request)); };
  for (const char* other : {"[::1]:0", "127.0.0.1:0"}) {
    auto transport = MakeGrpcTransport(GrpcOptions());
    auto foreign = transport->Listen(other, echo);
    if (!foreign.ok() && other[0] == '[') continue;  // a machine without IPv6
    ASSERT_TRUE(foreign.ok()) << foreign.status();
    const std::string& address = (*foreign)->address();
    const absl::Status status = transport->Listen("localhost" + address.substr(address.rfind(':')), echo).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << status;
  }
}

TEST(GrpcTransportTest, MalformedAddressesAreRefused) {
  auto transport = MakeGrpcTransport(GrpcOptions());
  for (const char* address :
       {"", "localhost", ":5", "localhost:", "localhost:x", "localhost:70000", "a/b:5", "unix:"}) {
    EXPECT_EQ(transport->Connect(address).status().code(), absl::StatusCode::kInvalidArgument) << address;
    EXPECT_EQ(transport->Listen(address, nullptr).status().code(), absl::StatusCode::kInvalidArgument) << address;
  }
}

TEST(GrpcTransportTest, HealthAndReflectionAnswerBesideTheHandler) {
  GrpcOptions options;
  options.services = {"sluice.proto.MasterService", "sluice.proto.WorkerService"};
  TestService service;
  auto transport = MakeGrpcTransport(options);
  auto listener = transport->Listen("localhost:0", service.handler());
  ASSERT_TRUE(listener.ok()) << listener.status();
  auto channel = transport->Connect((*listener)->address());
  ASSERT_TRUE(channel.ok());
  auto health = CallAndWait(channel->get(), "/grpc.health.v1.Health/Check", Message());
  ASSERT_TRUE(health.ok()) << health.status();
  EXPECT_EQ(health->body, "\x08\x01");  // SERVING
  const auto ask = [&](const proto::ReflectionRequest& request) {
    proto::ReflectionResponse response;
    auto reply = CallAndWait(channel->get(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                             Message(request.SerializeAsString()));
    EXPECT_TRUE(reply.ok()) << reply.status();
    EXPECT_TRUE(reply.ok() && response.ParseFromString(std::string(reply->body)));
    return response;
  };
  proto::ReflectionRequest list;
  list.set_list_services("*");
  const proto::ReflectionResponse services = ask(list);
  ASSERT_EQ(services.list_services_response().service_size(), 3);
  EXPECT_EQ(services.list_services_response().service(1).name(), "sluice.proto.WorkerService");
  proto::ReflectionRequest symbol;
  symbol.set_file_containing_symbol("sluice.proto.WorkerService");
  (void)proto::GetStatusRequest::descriptor();  // links the services in
  std::set<std::string> names;
  const proto::ReflectionResponse files = ask(symbol);
  for (const std::string& bytes : files.file_descriptor_response().file_descriptor_proto()) {
    google::protobuf::FileDescriptorProto file;
    ASSERT_TRUE(file.ParseFromString(bytes));
    names.insert(file.name());
  }
  EXPECT_EQ(names.count("distributed/proto/worker.proto"), 1u);
  EXPECT_EQ(names.count("core/proto/graph.proto"), 1u);  // its imports too
  symbol.set_file_containing_symbol("no.such.Symbol");
  EXPECT_EQ(ask(symbol).error_response().error_code(), 5);
}

TEST(GrpcTransportTest, WhatIsNoMessageIsRefusedAndSoIsAPeerThatIsNoTask) {
  // A peer that answers every connection with rubbish.
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at = {};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&at), size), 0);
  ASSERT_EQ(listen(fd, 5), 0);
  getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size);
  std::atomic<bool> stop{false};
  std::thread rubbish([&] {
    while (!stop) {
      const int c = accept(fd, nullptr, nullptr);
      if (c < 0) return;
      (void)!write(c, "SSH-2.0-rubbish\r\n", 17);
      close(c);
    }
  });
  auto transport = MakeGrpcTransport(GrpcOptions());
  auto channel = transport->Connect(absl::StrCat("127.0.0.1:", ntohs(at.sin_port)));
  ASSERT_TRUE(channel.ok());
  EXPECT_EQ(CallAndWait(channel->get(), "/test/Echo", Message(), absl::Seconds(5)).status().code(),
            absl::StatusCode::kUnavailable);
  stop = true;
  shutdown(fd, SHUT_RDWR);
  rubbish.join();
  close(fd);
}

void ExpectSame(const Message& found, const Message& wanted) {
  EXPECT_EQ(found.body, wanted.body);
  ASSERT_EQ(found.tensors.size(), wanted.tensors.size());
  for (size_t i = 0; i < wanted.tensors.size(); ++i) {
    if (!wanted.tensors[i].IsValid()) continue;
    EXPECT_TRUE(IdenticalTensors(found.tensors[i], wanted.tensors[i])) << i;
  }
}

// A reply beyond the limit of a message comes in parts, whole and in order.
TEST(GrpcTransportTest, LargeRepliesComeInParts) {
  GrpcOptions options;
  options.max_message_bytes = 100'000;
  auto transport = MakeGrpcTransport(options);
  const Message large = [] {
    Message m = TextMessage("large");
    m.tensors = {Ramp(3), Ramp(100'001), Tensor(), Ramp(7), Ramp(50'000), Tensor::Vector<std::string>({"a", "bc"})};
    return m;
  }();
  auto listener = transport->Listen("localhost:0", [&](const IncomingCall&, Message, Reply reply) { reply(large); });
  ASSERT_TRUE(listener.ok()) << listener.status();
  auto channel = transport->Connect((*listener)->address());
  const int64_t before = HostAllocator()->stats().live_bytes;
  for (int round = 0; round < 5; ++round) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        auto reply = CallAndWait(channel->get(), "/test/Large", Message(), absl::Seconds(60));
        ASSERT_TRUE(reply.ok()) << reply.status();
        ExpectSame(*reply, large);
      });
    }
    for (std::thread& t : threads) t.join();
  }
  EXPECT_LT(HostAllocator()->stats().live_bytes - before, 8 << 20) << "what was fetched is not kept";
}

// So does a request, which runs once.
TEST(GrpcTransportTest, LargeRequestsGoInParts) {
  GrpcOptions options;
  options.max_message_bytes = 100'000;
  auto transport = MakeGrpcTransport(options);
  Message large = TextMessage("large");
  large.tensors = {Ramp(3), Ramp(100'001), Tensor(), Ramp(7), Ramp(50'000), Tensor::Vector<std::string>({"a", "bc"})};
  std::atomic<int> runs{0};
  auto listener = transport->Listen("localhost:0", [&](const IncomingCall& call, Message request, Reply reply) {
    ++runs;
    if (call.method == "/test/Fail") return reply(absl::InvalidArgumentError("refused"));
    EXPECT_EQ(call.method, "/test/Large");
    EXPECT_EQ(call.way, Way::kGrpc);
    EXPECT_LT(call.timeout, absl::Seconds(61));
    ExpectSame(request, large);
    reply(std::move(request));  // which is as large
  });
  ASSERT_TRUE(listener.ok()) << listener.status();
  auto channel = transport->Connect((*listener)->address());
  const int64_t before = HostAllocator()->stats().live_bytes;
  for (int round = 0; round < 5; ++round) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        auto reply = CallAndWait(channel->get(), "/test/Large", large, absl::Seconds(60));
        ASSERT_TRUE(reply.ok()) << reply.status();
        EXPECT_TRUE(IdenticalTensors(reply->tensors[1], large.tensors[1]));
      });
    }
    for (std::thread& t : threads) t.join();
  }
  EXPECT_EQ(runs, 20);
  EXPECT_EQ(CallAndWait(channel->get(), "/test/Fail", large, absl::Seconds(60)).status(),
            absl::InvalidArgumentError("refused"));
  EXPECT_LT(HostAllocator()->stats().live_bytes - before, 8 << 20) << "what was sent is not kept";
  // A listener that goes while parts are on their way ends the call, by its own name.
  listener->reset();
  const absl::Status gone = CallAndWait(channel->get(), "/test/Large", large, absl::Seconds(60)).status();
  EXPECT_EQ(gone.code(), absl::StatusCode::kUnavailable) << gone;
  EXPECT_TRUE(absl::StrContains(gone.message(), "/test/Large")) << gone;
}

// What strangers may send as parts of requests.
TEST(GrpcTransportTest, PartsThatMakeNoRequestAreRefused) {
  auto transport = MakeGrpcTransport(GrpcOptions());
  auto listener =
      transport->Listen("localhost:0", [&](const IncomingCall&, Message, Reply reply) { reply(Message()); });
  ASSERT_TRUE(listener.ok()) << listener.status();
  auto channel = transport->Connect((*listener)->address());
  // "id, bytes of the whole, offset", and the bytes; as a message whose body has them.
  const auto give = [&](uint64_t id, uint64_t whole, uint64_t offset, size_t bytes) {
    const uint64_t header[] = {id, whole, offset};
    std::string part(reinterpret_cast<const char*>(header), sizeof header);
    part.append(bytes, '\xff');
    return CallAndWait(channel->get(), "/sluice.Transport/Give", Message(part), absl::Seconds(20)).status().code();
  };
  const auto take = [&](uint64_t id, uint64_t bytes) {
    std::string call = "\x09";
    call.append(reinterpret_cast<const char*>(&id), sizeof id);
    call += {'\x10', static_cast<char>(bytes), '\x1a', '\x02', '/', 'x'};
    return CallAndWait(channel->get(), "/sluice.Transport/Whole", Message(call), absl::Seconds(20)).status().code();
  };
  using absl::StatusCode;
  EXPECT_EQ(give(1, 100, 0, 0), StatusCode::kInvalidArgument);
  EXPECT_EQ(give(1, 100, 90, 11), StatusCode::kInvalidArgument);
  EXPECT_EQ(give(1, 100, ~uint64_t{0}, 11), StatusCode::kInvalidArgument);
  EXPECT_EQ(give(1, ~uint64_t{0}, 0, 11), StatusCode::kInvalidArgument);
  EXPECT_EQ(take(1, 100), StatusCode::kNotFound);
  EXPECT_EQ(give(2, 100, 10, 50), StatusCode::kOk);
  EXPECT_EQ(give(2, 100, 0, 11), StatusCode::kInvalidArgument);
  EXPECT_EQ(give(2, 100, 59, 41), StatusCode::kInvalidArgument);
  EXPECT_EQ(give(2, 101, 60, 41), StatusCode::kInvalidArgument);
  EXPECT_EQ(take(2, 100), StatusCode::kInvalidArgument);  // ten bytes and forty are missing
  EXPECT_EQ(give(2, 100, 60, 40), StatusCode::kOk);
  EXPECT_EQ(give(2, 100, 0, 10), StatusCode::kOk);
  EXPECT_EQ(take(2, 100), StatusCode::kInvalidArgument);  // no message
  EXPECT_EQ(take(2, 100), StatusCode::kNotFound);
  EXPECT_EQ(CallAndWait(channel->get(), "/sluice.Transport/Give", Message(), absl::Seconds(20)).status().code(),
            StatusCode::kInvalidArgument);
}

// Full size: 2.5 GiB. Wants 8 GB of memory, so it runs only when it is asked for (SLUICE_LARGE_TESTS=1).
TEST(GrpcTransportTest, RequestsAndRepliesBeyondTwoGibibytesComeInParts) {
  if (std::getenv("SLUICE_LARGE_TESTS") == nullptr) GTEST_SKIP() << "wants 8 GB of memory: SLUICE_LARGE_TESTS=1";
  auto transport = MakeGrpcTransport(GrpcOptions());
  Message large;
  large.tensors = {Ramp(671'088'640)};
  bool same = false;
  auto listener = transport->Listen("localhost:0", [&](const IncomingCall&, Message request, Reply reply) {
    if (request.tensors.empty()) return reply(large);
    same = IdenticalTensors(request.tensors[0], large.tensors[0]);
    reply(Message());
  });
  ASSERT_TRUE(listener.ok()) << listener.status();
  auto channel = transport->Connect((*listener)->address());
  auto reply = CallAndWait(channel->get(), "/test/Large", Message(), absl::Seconds(250));
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_GT(reply->tensors[0].num_bytes(), size_t{1} << 31);
  EXPECT_TRUE(IdenticalTensors(reply->tensors[0], large.tensors[0]));
  reply = Message();
  reply = CallAndWait(channel->get(), "/test/Large", large, absl::Seconds(250));
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_TRUE(same);
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) { return sluice::ConformanceMain(argc, argv, sluice::Cases()); }
