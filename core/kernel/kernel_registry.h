// Which kernel runs an op on a device type, by the types of its attributes.
//
//   k.Add("Relu", kCpu, UnaryOnCpu<Relu>(kRealTypes));                         // a definition made by a template
//   k.Add("Print", kCpu, KernelDef().Make<PrintKernel>());                     // any types
//   k.Add("Cast", kCpu, KernelDef().Types("SrcT", kPlainTypes).Types("DstT", kPlainTypes).Make<CastKernel>());
//
// Among those that fit a node the highest priority wins; two of the same priority are an error when the second is
// added.
#ifndef SLUICE_CORE_KERNEL_KERNEL_REGISTRY_H_
#define SLUICE_CORE_KERNEL_KERNEL_REGISTRY_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "core/kernel/kernel.h"

namespace sluice {

inline constexpr char kCpu[] = "CPU";
inline constexpr char kCuda[] = "GPU";

using KernelFactory = std::function<std::unique_ptr<Kernel>(const NodeInfo&)>;

struct KernelDef {
  std::vector<std::pair<std::string, DTypeSet>> types;  // attribute ("type" or "list(type)") -> allowed
  std::vector<std::string> host_memory;                 // arguments that live in host memory on any device
  std::string label;                                    // chosen by the attribute _kernel
  int priority = 0;
  KernelFactory factory;

  KernelDef&& Types(std::string attr, DTypeSet set) && {
    types.emplace_back(std::move(attr), set);
    return std::move(*this);
  }
  KernelDef&& HostMemory(std::string arg) && {
    host_memory.push_back(std::move(arg));
    return std::move(*this);
  }
  KernelDef&& Priority(int p) && {
    priority = p;
    return std::move(*this);
  }
  template <typename K>
  KernelDef&& Make() && {
    factory = [](const NodeInfo&) { return std::make_unique<K>(); };
    return std::move(*this);
  }
  KernelDef&& Factory(KernelFactory f) && {
    factory = std::move(f);
    return std::move(*this);
  }
};

class KernelRegistry {
 public:
  void Add(absl::string_view op, absl::string_view device_type, KernelDef def);
  // The first mistakes of all additions, or OK.
  absl::Status Finish() const;

  // Null when none fits.
  const KernelDef* Find(const NodeInfo& node, absl::string_view device_type) const;
  // As Find; the error names the node, its types, and what is registered for the op.
  absl::StatusOr<const KernelDef*> Get(const NodeInfo& node, absl::string_view device_type) const;
  absl::StatusOr<std::unique_ptr<Kernel>> MakeKernel(const NodeInfo& node, absl::string_view device_type) const;
  // (op, device type) of every kernel, sorted.
  std::vector<std::pair<std::string, std::string>> List() const;
  // The types an attribute may take over all kernels of an op on a device.
  DTypeSet TypesOf(absl::string_view op, absl::string_view device_type, absl::string_view attr) const;

 private:
  absl::flat_hash_map<std::pair<std::string, std::string>, std::vector<KernelDef>> kernels_;
  std::vector<std::string> errors_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_KERNEL_KERNEL_REGISTRY_H_
