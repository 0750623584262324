// The reflection service, answered from the descriptors that are linked in: `grpcurl -plaintext HOST:PORT list`.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/generic/async_generic_service.h>

#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "distributed/rpc/grpc_internal.h"
#include "distributed/rpc/reflection.pb.h"

namespace sluice {
namespace grpc_internal {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;

constexpr char kHealth[] = "grpc.health.v1.Health";

void AddWithImports(const FileDescriptor* file, std::set<std::string>* added, proto::ReflectionResponse::Files* out) {
  if (!added->insert(file->name()).second) return;
  google::protobuf::FileDescriptorProto description;
  file->CopyTo(&description);
  out->add_file_descriptor_proto(description.SerializeAsString());
  for (int i = 0; i < file->dependency_count(); ++i) AddWithImports(file->dependency(i), added, out);
}

proto::ReflectionResponse Answer(const proto::ReflectionRequest& request, const std::vector<std::string>& services) {
  proto::ReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  const DescriptorPool* pool = DescriptorPool::generated_pool();
  const FileDescriptor* file = nullptr;
  switch (request.message_request_case()) {
    case proto::ReflectionRequest::kListServices:
      for (const std::string& name : services) response.mutable_list_services_response()->add_service()->set_name(name);
      response.mutable_list_services_response()->add_service()->set_name(kHealth);
      return response;
    case proto::ReflectionRequest::kFileByFilename:
      file = pool->FindFileByName(request.file_by_filename());
      break;
    case proto::ReflectionRequest::kFileContainingSymbol:
      file = pool->FindFileContainingSymbol(request.file_containing_symbol());
      break;
    default:
      response.mutable_error_response()->set_error_code(static_cast<int>(absl::StatusCode::kUnimplemented));
      response.mutable_error_response()->set_error_message(
          "wanted list_services, file_by_filename or file_containing_symbol");
      return response;
  }
  if (file == nullptr) {
    response.mutable_error_response()->set_error_code(static_cast<int>(absl::StatusCode::kNotFound));
    response.mutable_error_response()->set_error_message("no such file or symbol");
    return response;
  }
  std::set<std::string> added;
  AddWithImports(file, &added, response.mutable_file_descriptor_response());
  return response;
}

// Questions and answers take turns on one stream until the client has no more.
class ReflectionCall : public grpc::ServerGenericBidiReactor {
 public:
  ReflectionCall(OpenCalls* open, const std::vector<std::string>* services)
      : open_(open), services_(services), shared_(std::make_shared<Shared>()) {
    shared_->call = this;
    if (open_->Add(this, [shared = shared_](const grpc::Status& status) { End(shared, status); })) {
      StartRead(&request_);
    } else {
      End(shared_, ShuttingDown());
    }
  }
  void OnReadDone(bool ok) override {
    if (!ok) return End(shared_, grpc::Status::OK);
    grpc::Slice bytes;
    proto::ReflectionRequest request;
    if (!request_.DumpToSingleSlice(&bytes).ok() ||
        !request.ParseFromArray(bytes.begin(), static_cast<int>(bytes.size()))) {
      return End(shared_, grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "a malformed reflection request"));
    }
    const grpc::Slice answer(Answer(request, *services_).SerializeAsString());
    response_ = grpc::ByteBuffer(&answer, 1);
    absl::MutexLock lock(&shared_->mu);
    if (shared_->call != nullptr) StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return End(shared_, grpc::Status(grpc::StatusCode::CANCELLED, ""));
    request_.Clear();
    absl::MutexLock lock(&shared_->mu);
    if (shared_->call != nullptr) StartRead(&request_);
  }
  void OnCancel() override { End(shared_, grpc::Status(grpc::StatusCode::CANCELLED, "")); }
  void OnDone() override {
    open_->Remove(this);
    delete this;
  }

 private:
  struct Shared {
    absl::Mutex mu;
    ReflectionCall* call ABSL_GUARDED_BY(mu) = nullptr;  // null once it was finished, after which nothing may start
  };
  static void End(const std::shared_ptr<Shared>& shared, const grpc::Status& status) {
    absl::MutexLock lock(&shared->mu);
    if (shared->call == nullptr) return;
    ReflectionCall* call = shared->call;
    shared->call = nullptr;
    call->Finish(status);
  }

  OpenCalls* const open_;
  const std::vector<std::string>* const services_;
  const std::shared_ptr<Shared> shared_;
  grpc::ByteBuffer request_, response_;
};

}  // namespace

bool IsReflectionMethod(const std::string& method) {
  return method == "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo" ||
         method == "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
}

grpc::ServerGenericBidiReactor* MakeReflectionCall(OpenCalls* open, const std::vector<std::string>* services) {
  return new ReflectionCall(open, services);
}

}  // namespace grpc_internal
}  // namespace sluice
