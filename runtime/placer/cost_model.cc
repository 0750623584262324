#include "runtime/placer/cost_model.h"

#include <algorithm>
#include <cmath>

namespace sluice {
namespace {

constexpr int64_t kUnknownSize = 32;
constexpr int64_t kUnknownElements = 1024;
constexpr double kMostElements = 1e15;
constexpr double kCheapNs = 100;

int64_t Elements(const PartialShape& shape) {
  if (!shape.known_rank()) return kUnknownElements;
  double n = 1;
  for (int64_t d : shape.dims()) n = std::min(n * static_cast<double>(d < 0 ? kUnknownSize : d), kMostElements);
  return static_cast<int64_t>(n);
}

int64_t Bytes(const Endpoint& e) { return CostModel::OutputBytes(*e.node, e.index); }

bool IsMatrix(const Node& node, int input) {
  const Endpoint& in = node.input(input);
  const PartialShape& shape = in.node->output_shape(in.index);
  return kFloatingTypes.Has(BaseType(node.input_type(input))) && shape.known_rank() && shape.rank() >= 2;
}

std::string TaskOf(const DeviceName& d) {
  DeviceName task = d;
  task.type.reset();
  task.index.reset();
  return task.ToString();
}

}  // namespace

void MeasuredCosts::Record(absl::string_view node, absl::string_view device_type, double ns) {
  absl::MutexLock lock(&mu_);
  auto [it, fresh] = ns_.try_emplace(std::make_pair(std::string(node), std::string(device_type)), ns);
  if (!fresh) it->second += (ns - it->second) / 4;
}

double MeasuredCosts::Find(absl::string_view node, absl::string_view device_type) const {
  absl::MutexLock lock(&mu_);
  auto it = ns_.find(std::make_pair(std::string(node), std::string(device_type)));
  return it == ns_.end() ? -1 : it->second;
}

bool MeasuredCosts::empty() const {
  absl::MutexLock lock(&mu_);
  return ns_.empty();
}

CostModel::CostModel(const MeasuredCosts* measured)
    : measured_(measured != nullptr && !measured->empty() ? measured : nullptr) {
  speeds_["CPU"] = {500, 20, 10};
  speeds_["GPU"] = {5000, 10000, 1000};
}

void CostModel::SetSpeed(absl::string_view device_type, DeviceSpeed speed) {
  speeds_[std::string(device_type)] = speed;
}

bool CostModel::IsMeasured(const Node& node, absl::string_view device_type) const {
  return measured_ != nullptr && measured_->Find(node.name(), device_type) >= 0;
}

int64_t CostModel::OutputBytes(const Node& node, int output) {
  const DType t = node.output_type(output);
  if (IsRefType(t) || t == DType::kResource) return static_cast<int64_t>(ElementSize(DType::kResource));
  return Elements(node.output_shape(output)) * static_cast<int64_t>(ElementSize(t));
}

double CostModel::Flops(const Node& node) {
  double inputs = 0, outputs = 0;
  for (const Endpoint& in : node.inputs()) inputs += static_cast<double>(Elements(in.node->output_shape(in.index)));
  for (int i = 0; i < node.num_outputs(); ++i) outputs += static_cast<double>(Elements(node.output_shape(i)));
  // A contraction of [m,k] and [k,n] takes 2mkn = 2 sqrt(mk * kn * mn); images and filters come close.
  const bool listed = !node.op().inputs.empty() && node.op().inputs[0].is_list();
  if (!node.Is(kElementwise) && !node.Is(kMayAlias) && !listed && node.num_outputs() == 1) {
    int matrices[2], found = 0;
    for (int i = 0; i < node.num_inputs() && found < 2; ++i) {
      if (IsMatrix(node, i)) matrices[found++] = i;
    }
    if (found == 2 && node.output_shape(0).rank() >= 2) {
      double product = outputs;
      for (int i : matrices) {
        const Endpoint& in = node.input(i);
        product *= static_cast<double>(Elements(in.node->output_shape(in.index)));
      }
      return 2 * std::sqrt(product);
    }
  }
  return std::max(inputs, outputs);
}

double CostModel::ComputeNs(const Node& node, absl::string_view device_type) const {
  if (measured_ != nullptr) {
    const double ns = measured_->Find(node.name(), device_type);
    if (ns >= 0) return ns;
  }
  if (node.Is(kConstant) || node.Is(kSource)) return 0;
  if (node.Is(kCheap)) return kCheapNs;
  auto it = speeds_.find(device_type);
  const DeviceSpeed speed = it == speeds_.end() ? DeviceSpeed() : it->second;
  double bytes = 0;
  for (const Endpoint& in : node.inputs()) bytes += static_cast<double>(Bytes(in));
  for (int i = 0; i < node.num_outputs(); ++i) bytes += static_cast<double>(OutputBytes(node, i));
  return speed.dispatch_ns + std::max(bytes / speed.bytes_per_ns, Flops(node) / speed.flops_per_ns);
}

void Topology::Set(absl::string_view a, absl::string_view b, Link link) {
  auto canonical = [](absl::string_view name) {
    absl::StatusOr<DeviceName> parsed = DeviceName::Parse(name);
    return parsed.ok() ? parsed->ToString() : std::string(name);
  };
  links_[{canonical(a), canonical(b)}] = link;
  links_[{canonical(b), canonical(a)}] = link;
}

Link Topology::Between(const DeviceName& a, const DeviceName& b) const {
  if (a == b) return {};
  const std::string task_a = TaskOf(a), task_b = TaskOf(b);
  if (!links_.empty()) {
    for (const auto& key : {std::make_pair(a.ToString(), b.ToString()), std::make_pair(task_a, task_b)}) {
      auto it = links_.find(key);
      if (it != links_.end()) return it->second;
    }
  }
  if (task_a != task_b) return {100e3, 1};
  if (a.type == b.type && a.type == "CPU") return {2e3, 0};
  return {20e3, 10};
}

}  // namespace sluice
