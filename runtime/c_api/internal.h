// What the opaque handles of sluice.h hold.
#ifndef SLUICE_RUNTIME_C_API_INTERNAL_H_
#define SLUICE_RUNTIME_C_API_INTERNAL_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/cancellation.h"
#include "core/base/status.h"
#include "core/graph/function.h"
#include "core/graph/graph.h"
#include "runtime/c_api/environment.h"
#include "runtime/c_api/sluice.h"
#include "runtime/session/session.h"

struct SL_Status {
  int code = 0;
  std::string message;

  void Set(const absl::Status& s) {
    code = s.raw_code();
    message = std::string(s.message());
  }
  absl::Status ToStatus() const { return absl::Status(static_cast<absl::StatusCode>(code), message); }
};

struct SL_Buffer {
  std::string bytes;
};

struct SL_Tensor {
  sluice::Tensor tensor;
};

struct SL_Graph {
  SL_Graph() : graph(std::make_shared<sluice::Graph>(&sluice::GetProcessEnvironment().ops)) {}
  std::shared_ptr<sluice::Graph> graph;
};

struct SL_OpBuilder {
  std::shared_ptr<sluice::Graph> graph;
  sluice::NodeSpec spec;
  std::string file;
  absl::Status status;
};

struct SL_Session {
  std::shared_ptr<sluice::Graph> graph;
  std::unique_ptr<sluice::SessionBase> session;
};

struct SL_Callable {
  SL_Session* session = nullptr;
  std::shared_ptr<sluice::Callable> callable;
  sluice::CallableSpec spec;
};

struct SL_Cancellation {
  sluice::CancellationToken token;
};

struct SL_DeviceList {
  std::vector<sluice::DeviceAttributes> devices;
};

namespace sluice {

inline Node* ToNode(SL_Operation* op) { return reinterpret_cast<Node*>(op); }
inline const Node* ToNode(const SL_Operation* op) { return reinterpret_cast<const Node*>(op); }
inline SL_Operation* FromNode(Node* node) { return reinterpret_cast<SL_Operation*>(node); }
inline Endpoint ToEndpoint(SL_Output o) { return {ToNode(o.op), o.index}; }
inline SL_Output FromEndpoint(Endpoint e) { return {FromNode(e.node), e.index}; }
inline const OpDef* ToOpDef(const SL_OpDef* def) { return reinterpret_cast<const OpDef*>(def); }
inline const SL_OpDef* FromOpDef(const OpDef* def) { return reinterpret_cast<const SL_OpDef*>(def); }
inline const AttrValue* ToAttr(const SL_Attr* attr) { return reinterpret_cast<const AttrValue*>(attr); }
inline const SL_Attr* FromAttr(const AttrValue* attr) { return reinterpret_cast<const SL_Attr*>(attr); }
inline SL_Buffer* NewBuffer(std::string bytes) { return new SL_Buffer{std::move(bytes)}; }
// "name:index".
std::string EndpointName(const SL_Output& output);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_C_API_INTERNAL_H_
