#include "compiler/layout/roles.h"

#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace sluice {
namespace {

const std::vector<LayoutRole>& Roles() {
  static const auto* roles = new std::vector<LayoutRole>{
      {"Conv2D", {0}, -1, true, true},
      {"Conv2DBackpropInput", {2}, 0, true, true},
      {"Conv2DBackpropFilter", {0, 2}, -1, false, true},
      {"DepthwiseConv2dNative", {0}, -1, true, true},
      {"DepthwiseConv2dNativeBackpropInput", {2}, 0, true, true},
      {"DepthwiseConv2dNativeBackpropFilter", {0, 2}, -1, false, true},
      {"Conv3D", {0}, -1, true, true},
      {"Conv3DBackpropInputV2", {2}, 0, true, true},
      {"Conv3DBackpropFilterV2", {0, 2}, -1, false, true},
      {"MaxPool", {0}, -1, true, true},
      {"MaxPoolGrad", {0, 1, 2}, -1, true, true},
      {"MaxPoolGradGrad", {0, 1, 2}, -1, true, true},
      {"MaxPool3D", {0}, -1, true, true},
      {"MaxPool3DGrad", {0, 1, 2}, -1, true, true},
      {"MaxPool3DGradGrad", {0, 1, 2}, -1, true, true},
      {"AvgPool", {0}, -1, true, true},
      {"AvgPoolGrad", {1}, 0, true, true},
      {"AvgPool3D", {0}, -1, true, true},
      {"AvgPool3DGrad", {1}, 0, true, true},
      {"BiasAdd", {0}},
      {"BiasAddGrad", {0}, -1, false},
      {"FusedBatchNorm", {0}},
      {"FusedBatchNormV2", {0}},
      {"FusedBatchNormV3", {0}},
      {"FusedBatchNormGrad", {0, 1}},
      {"FusedBatchNormGradV2", {0, 1}},
      {"FusedBatchNormGradV3", {0, 1}},
  };
  return *roles;
}

const absl::flat_hash_map<absl::string_view, const LayoutRole*>& RolesByOp() {
  static const auto* by_op = [] {
    auto* map = new absl::flat_hash_map<absl::string_view, const LayoutRole*>;
    for (const LayoutRole& r : Roles()) map->emplace(r.op, &r);
    return map;
  }();
  return *by_op;
}

}  // namespace

const LayoutRole* ChannelsFirstRole(const Node& n) {
  const AttrValue* format = n.attrs().Find("data_format");
  const std::string* text = format == nullptr ? nullptr : format->As<std::string>();
  if (text == nullptr || (*text != "NCHW" && *text != "NCDHW")) return nullptr;
  auto it = RolesByOp().find(n.op().name);
  if (it == RolesByOp().end()) return nullptr;
  for (int i : it->second->images) {
    const PartialShape& s = n.input(i).node->output_shape(n.input(i).index);
    if (IsRefType(n.input_type(i)) || (s.known_rank() && s.rank() != 4 && s.rank() != 5)) return nullptr;
  }
  // A bias goes along the channels of any rank; what it is must be known.
  const Endpoint& first = n.input(it->second->images[0]);
  if (!it->second->seeds && !first.node->output_shape(first.index).known_rank()) return nullptr;
  return it->second;
}

}  // namespace sluice
