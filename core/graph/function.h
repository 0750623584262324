// Functions: graphs with arguments and results that nodes call by name (PartitionedCall, If, While ...).
//
// A body is a Graph in which argument i is an `_Arg` node with attribute index=i and result i a `_Retval` node.
#ifndef SLUICE_CORE_GRAPH_FUNCTION_H_
#define SLUICE_CORE_GRAPH_FUNCTION_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/graph/graph.h"

namespace sluice {

struct FunctionArg {
  std::string name;
  DType type = DType::kInvalid;
  PartialShape shape;
};

struct Function {
  std::string name;
  std::vector<FunctionArg> args;
  std::vector<FunctionArg> results;
  AttrMap attrs;
  std::unique_ptr<Graph> body;
  std::string gradient;  // the function that computes gradients, empty when there is none
};

class FunctionLibrary {
 public:
  // An error when a different function has the name.
  absl::Status Add(std::unique_ptr<Function> function);
  const Function* Find(absl::string_view name) const;
  std::vector<const Function*> List() const;  // by name
  // Shares the functions of another library (bodies are immutable once added).
  absl::Status AddAll(const FunctionLibrary& other);

 private:
  std::map<std::string, std::shared_ptr<const Function>, std::less<>> functions_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_GRAPH_FUNCTION_H_
