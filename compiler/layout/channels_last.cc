#include "compiler/layout/channels_last.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "compiler/layout/roles.h"
#include "core/base/status.h"

namespace sluice {
namespace {

// last[i] = first[ToLast(rank)[i]], and back.
std::vector<int64_t> ToLast(int rank) {
  std::vector<int64_t> p = {0};
  for (int i = 2; i < rank; ++i) p.push_back(i);
  p.push_back(1);
  return p;
}
std::vector<int64_t> ToFirst(int rank) {
  std::vector<int64_t> p = {0, rank - 1};
  for (int i = 1; i + 1 < rank; ++i) p.push_back(i);
  return p;
}

const PartialShape& ShapeOf(const Endpoint& e) { return e.node->output_shape(e.index); }

PartialShape Permuted(const PartialShape& s, const std::vector<int64_t>& p) {
  if (!s.known_rank() || s.rank() != static_cast<int>(p.size())) return PartialShape();
  PartialShape out;
  for (int64_t i : p) out.AddDim(s.dim(static_cast<int>(i)));
  return out;
}

// How many dimensions are not 1. With one of them elements lie in the same order in any layout.
int LongDims(const PartialShape& s) {
  return static_cast<int>(std::count_if(s.dims().begin(), s.dims().end(), [](int64_t d) { return d != 1; }));
}

std::optional<std::vector<int64_t>> ConstantInts(const Endpoint& e) {
  if (!e.node->Is(kConstant)) return std::nullopt;
  const AttrValue* value = e.node->attrs().Find("value");
  const Tensor* t = value == nullptr ? nullptr : value->As<Tensor>();
  if (t == nullptr || !IsInteger(t->dtype())) return std::nullopt;
  std::vector<int64_t> v;
  for (int64_t i = 0; i < t->num_elements(); ++i) v.push_back(t->IntAt(i));
  return v;
}

class Rewriter {
 public:
  Rewriter(Graph* graph, const PassContext& context) : graph_(graph), context_(context) {}

  absl::StatusOr<bool> Run() {
    ASSIGN_OR_RETURN(const std::vector<Node*> order, graph_->TopologicalOrder());
    bool seeds = false;
    for (const Node* n : order) {
      if (n->Is(kBackEdge)) return false;
      const LayoutRole* role = ChannelsFirstRole(*n);
      seeds |= role != nullptr && role->seeds && IsMine(*n);
    }
    if (!seeds) return false;
    for (Node* n : order) {
      if (IsMine(*n)) RETURN_IF_ERROR(Visit(n));
    }
    return Finish();
  }

 private:
  bool IsMine(const Node& n) const {
    return !context_.preserve.contains(n.name()) && !absl::StrContains(n.assigned_device(), "GPU") &&
           !absl::StrContains(n.info().device, "GPU");
  }

  absl::Status Visit(Node* n) {
    if (const LayoutRole* role = ChannelsFirstRole(*n)) {
      const bool near =
          std::any_of(role->images.begin(), role->images.end(), [&](int i) { return region_.contains(n->input(i)); });
      return role->seeds || near ? Turn(n, *role) : absl::OkStatus();
    }
    const std::string& op = n->op().name;
    if (op == "Transpose") return TurnTranspose(n);
    if (std::none_of(n->inputs().begin(), n->inputs().end(), [&](const Endpoint& e) { return region_.contains(e); })) {
      return absl::OkStatus();
    }
    if (op == "Shape") return TurnShape(n);
    if (op == "Pad" || op == "PadV2" || op == "MirrorPad") return TurnPad(n);
    if (op == "ConcatV2") return TurnConcat(n);
    if (n->num_inputs() == 2 && n->num_outputs() == 1 && n->attrs().Find("keep_dims") != nullptr)
      return TurnReduction(n);
    return TurnElementWise(n);
  }

  // --- Pieces of graph ---

  // A node in the place of `n`, or beside it: on its device, from its line.
  static NodeSpec SpecFor(const Node& n, const std::string& op, absl::string_view suffix) {
    NodeSpec spec;
    spec.op = op;
    spec.name = absl::StrCat(n.name(), "/", suffix);
    spec.device = n.info().device;
    spec.source = n.info().source;
    return spec;
  }
  absl::StatusOr<Node*> Add(const Node& n, NodeSpec spec) {
    ASSIGN_OR_RETURN(Node * made, graph_->AddNodeUniqueName(std::move(spec)));
    made->set_assigned_device(n.assigned_device());
    return made;
  }
  absl::StatusOr<Node*> AddInts(const Node& n, const std::vector<int64_t>& values, DType type, const Shape& shape) {
    ASSIGN_OR_RETURN(Tensor t, Tensor::Make(type, shape));
    for (size_t i = 0; i < values.size(); ++i) {
      if (type == DType::kInt64) {
        t.data<int64_t>()[i] = values[i];
      } else {
        t.data<int32_t>()[i] = static_cast<int32_t>(values[i]);
      }
    }
    NodeSpec spec = SpecFor(n, "Const", "layout");
    spec.attrs = {{"value", std::move(t)}, {"dtype", type}};
    return Add(n, std::move(spec));
  }
  absl::StatusOr<Node*> AddInts(const Node& n, const std::vector<int64_t>& values, DType type = DType::kInt32) {
    return AddInts(n, values, type, Shape({static_cast<int64_t>(values.size())}));
  }
  absl::StatusOr<Endpoint> AddTranspose(const Node& n, Endpoint x, const std::vector<int64_t>& p) {
    ASSIGN_OR_RETURN(Node * perm, AddInts(n, p));
    NodeSpec spec = SpecFor(n, "Transpose", p[1] == 2 ? "channels_last" : "channels_first");
    spec.inputs = {x, {perm, 0}};
    ASSIGN_OR_RETURN(Node * made, Add(n, std::move(spec)));
    return Endpoint{made, 0};
  }
  // Elements p[i] of the vector `sizes`.
  absl::StatusOr<Endpoint> Pick(const Node& n, Endpoint sizes, const std::vector<int64_t>& p) {
    const DType type = sizes.node->output_type(sizes.index);
    if (std::optional<std::vector<int64_t>> known = ConstantInts(sizes); known && known->size() == p.size()) {
      std::vector<int64_t> picked;
      for (int64_t i : p) picked.push_back((*known)[i]);
      ASSIGN_OR_RETURN(Node * made, AddInts(n, picked, type));
      return Endpoint{made, 0};
    }
    ASSIGN_OR_RETURN(Node * indices, AddInts(n, p));
    ASSIGN_OR_RETURN(Node * axis, AddInts(n, {0}, DType::kInt32, Shape()));
    NodeSpec spec = SpecFor(n, "GatherV2", "layout_sizes");
    spec.inputs = {sizes, {indices, 0}, {axis, 0}};
    ASSIGN_OR_RETURN(Node * made, Add(n, std::move(spec)));
    return Endpoint{made, 0};
  }

  // `e` with channels last: what is there already, or a transpose, or a view when only one dimension is long.
  absl::StatusOr<Endpoint> Last(const Node& reader, Endpoint e, int rank) {
    if (auto it = last_.find(e); it != last_.end()) return it->second;
    const PartialShape& s = ShapeOf(e);
    if (s.IsFullyKnown() && LongDims(s) <= 1) {
      ASSIGN_OR_RETURN(Endpoint view, View(reader, e, rank));
      return last_[e] = view;
    }
    ASSIGN_OR_RETURN(Endpoint turned, AddTranspose(*e.node, e, ToLast(rank)));
    return last_[e] = turned;
  }
  // A tensor with one long dimension, which broadcasts against images, in their new order.
  absl::StatusOr<Endpoint> View(const Node& reader, Endpoint e, int rank) {
    PartialShape s;
    for (int i = ShapeOf(e).rank(); i < rank; ++i) s.AddDim(1);
    for (int64_t d : ShapeOf(e).dims()) s.AddDim(d);
    const PartialShape turned = Permuted(s, ToLast(rank));
    ASSIGN_OR_RETURN(Node * shape, AddInts(reader, {turned.dims().begin(), turned.dims().end()}));
    NodeSpec spec = SpecFor(*e.node, "Reshape", "channels_last");
    spec.inputs = {e, {shape, 0}};
    ASSIGN_OR_RETURN(Node * made, Add(reader, std::move(spec)));
    return Endpoint{made, 0};
  }

  // The same op on other inputs. Its output 0 is an image when `image`; then, or when its shape stays, what was known
  // of shapes is kept.
  absl::StatusOr<Node*> Replace(Node* n, std::vector<Endpoint> inputs, AttrMap attrs, bool image, int rank) {
    NodeSpec spec = SpecFor(*n, n->op().name, "channels_last");
    spec.inputs = std::move(inputs);
    spec.attrs = std::move(attrs);
    for (Node* before : n->control_inputs()) {
      auto it = made_.find(before);
      spec.control_inputs.push_back(it == made_.end() ? before : it->second);
    }
    ASSIGN_OR_RETURN(Node * made, Add(*n, std::move(spec)));
    for (int i = 0; i < n->num_outputs(); ++i) {
      const bool turned = image && i == 0;
      RETURN_IF_ERROR(
          graph_->RefineShape({made, i}, turned ? Permuted(n->output_shape(i), ToLast(rank)) : n->output_shape(i)));
      if (!turned) RETURN_IF_ERROR(graph_->ReplaceEndpoint({n, i}, {made, i}));
    }
    if (image) {
      last_[{n, 0}] = {made, 0};
      region_.insert({n, 0});
    }
    made_[n] = made;
    replaced_.push_back({n, image, rank});
    return made;
  }

  // --- Kinds of nodes ---

  absl::Status Turn(Node* n, const LayoutRole& role) {
    const std::string format = *n->attrs().Find("data_format")->As<std::string>();
    int rank = format == "NCDHW" ? 5 : 4;
    const PartialShape& shape = ShapeOf(n->input(role.images[0]));
    if (shape.known_rank() && shape.rank() != rank) {
      if (role.seeds || format == "NCDHW") return absl::OkStatus();
      rank = shape.rank();  // a bias, which says NCHW for any rank
    }
    std::vector<Endpoint> inputs(n->inputs().begin(), n->inputs().end());
    for (int i : role.images) {
      ASSIGN_OR_RETURN(inputs[i], Last(*n, inputs[i], rank));
    }
    if (role.sizes >= 0) {
      ASSIGN_OR_RETURN(inputs[role.sizes], Pick(*n, inputs[role.sizes], ToLast(rank)));
    }
    AttrMap attrs = n->attrs();
    attrs.Set("data_format", format == "NCHW" ? "NHWC" : "NDHWC");
    for (const char* name : {"strides", "ksize", "dilations", "explicit_paddings"}) {
      const AttrValue* value = attrs.Find(name);
      const auto* list = value == nullptr ? nullptr : value->As<std::vector<int64_t>>();
      if (list == nullptr || list->empty()) continue;
      const int each = static_cast<int>(list->size()) / rank;  // paddings have two for each dimension
      if (each * rank != static_cast<int>(list->size())) return absl::OkStatus();  // an error, left to the kernel
      std::vector<int64_t> turned;
      for (int64_t d : ToLast(rank)) {
        for (int k = 0; k < each; ++k) turned.push_back((*list)[d * each + k]);
      }
      attrs.Set(name, std::move(turned));
    }
    return Replace(n, std::move(inputs), std::move(attrs), role.makes_image, rank).status();
  }

  // The program turns an image itself: to channels first, then regions can begin with what it has, or back.
  absl::Status TurnTranspose(Node* n) {
    const int rank = ShapeOf(n->input(0)).rank();
    if (rank < 4 || rank > 5) return absl::OkStatus();
    const std::optional<std::vector<int64_t>> p = ConstantInts(n->input(1));
    if (p == ToFirst(rank) && n->control_inputs().empty()) {
      last_[{n, 0}] = n->input(0);
      region_.insert({n, 0});
      return absl::OkStatus();
    }
    if (p != ToLast(rank) || !region_.contains(n->input(0))) return absl::OkStatus();
    if (!n->control_inputs().empty() || !n->control_outputs().empty()) return absl::OkStatus();
    RETURN_IF_ERROR(graph_->ReplaceEndpoint({n, 0}, last_.at(n->input(0))));
    graph_->RemoveNode(n);
    return absl::OkStatus();
  }

  absl::Status TurnShape(Node* n) {
    const int rank = ShapeOf(n->input(0)).rank();
    if (!n->control_inputs().empty() || !n->control_outputs().empty()) return absl::OkStatus();
    NodeSpec spec = SpecFor(*n, "Shape", "channels_last");
    spec.inputs = {last_.at(n->input(0))};
    spec.attrs = n->attrs();
    ASSIGN_OR_RETURN(Node * shape, Add(*n, std::move(spec)));
    ASSIGN_OR_RETURN(Endpoint sizes, Pick(*n, {shape, 0}, ToFirst(rank)));
    RETURN_IF_ERROR(graph_->ReplaceEndpoint({n, 0}, sizes));
    graph_->RemoveNode(n);
    return absl::OkStatus();
  }

  absl::Status TurnPad(Node* n) {
    const int rank = ShapeOf(n->input(0)).rank();
    std::optional<std::vector<int64_t>> paddings = ConstantInts(n->input(1));
    if (!region_.contains(n->input(0)) || !paddings || static_cast<int>(paddings->size()) != 2 * rank)
      return absl::OkStatus();
    const DType type = n->input_type(1);
    if (type != DType::kInt32 && type != DType::kInt64) return absl::OkStatus();
    std::vector<Endpoint> inputs(n->inputs().begin(), n->inputs().end());
    inputs[0] = last_.at(inputs[0]);
    std::vector<int64_t> turned;
    for (int64_t d : ToLast(rank)) turned.insert(turned.end(), {(*paddings)[2 * d], (*paddings)[2 * d + 1]});
    ASSIGN_OR_RETURN(Node * both, AddInts(*n, turned, type, Shape({rank, 2})));
    inputs[1] = {both, 0};
    return Replace(n, std::move(inputs), n->attrs(), /*image=*/true, rank).status();
  }

  absl::Status TurnConcat(Node* n) {
    const int values = n->num_inputs() - 1, rank = n->output_shape(0).rank();
    std::optional<std::vector<int64_t>> axis = ConstantInts(n->input(values));
    if (rank < 4 || rank > 5 || !axis || axis->size() != 1 || !MostAreLast(*n, values, rank)) return absl::OkStatus();
    const int64_t at = (*axis)[0] < 0 ? (*axis)[0] + rank : (*axis)[0];
    if (at < 0 || at >= rank) return absl::OkStatus();
    std::vector<Endpoint> inputs(n->inputs().begin(), n->inputs().end());
    for (int i = 0; i < values; ++i) {
      ASSIGN_OR_RETURN(inputs[i], Last(*n, inputs[i], rank));
    }
    ASSIGN_OR_RETURN(Node * new_axis, AddInts(*n, {ToFirst(rank)[at]}, n->input_type(values), Shape()));
    inputs[values] = {new_axis, 0};
    return Replace(n, std::move(inputs), n->attrs(), /*image=*/true, rank).status();
  }

  // Over the same axes, when what is left of the image keeps its order.
  absl::Status TurnReduction(Node* n) {
    const int rank = ShapeOf(n->input(0)).rank();
    const DType type = n->input_type(1);
    std::optional<std::vector<int64_t>> axes = ConstantInts(n->input(1));
    if (!axes || !region_.contains(n->input(0)) || ShapeOf(n->input(1)).rank() > 1 ||
        (type != DType::kInt32 && type != DType::kInt64) || n->attrs().Find("keep_dims")->As<bool>() == nullptr) {
      return absl::OkStatus();
    }
    const std::vector<int64_t> place = ToFirst(rank);  // of each dimension with channels last
    std::vector<int64_t> turned;
    std::vector<bool> reduced(rank, false);
    for (int64_t a : *axes) {
      if (a < 0) a += rank;
      if (a < 0 || a >= rank) return absl::OkStatus();  // an error, left to the kernel
      reduced[a] = true;
      turned.push_back(place[a]);
    }
    const bool keep = *n->attrs().Find("keep_dims")->As<bool>();
    for (int64_t i = 0, before = -1; i < rank && !keep; ++i) {
      if (reduced[i]) continue;
      if (place[i] < before) return absl::OkStatus();
      before = place[i];
    }
    ASSIGN_OR_RETURN(Node * new_axes, AddInts(*n, turned, type));
    return Replace(n, {last_.at(n->input(0)), {new_axes, 0}}, n->attrs(), keep, rank).status();
  }

  // All operands are images, one of the region, and at most one has to be turned for it.
  bool MostAreLast(const Node& n, int operands, int rank) const {
    int there = 0, missing = 0;
    for (int i = 0; i < operands; ++i) {
      const PartialShape& s = ShapeOf(n.input(i));
      if (!s.known_rank() || s.rank() != rank) return false;
      there += region_.contains(n.input(i));
      missing += !last_.contains(n.input(i)) && !(s.IsFullyKnown() && LongDims(s) <= 1);
    }
    return there > 0 && missing <= 1;
  }

  absl::Status TurnElementWise(Node* n) {
    const bool one_by_one = n->Is(kElementwise) || n->Is(kAggregate) || (n->Is(kIdentity) && n->num_inputs() == 1);
    if (!one_by_one || n->Is(kStateful) || n->Is(kSideEffect) || n->num_outputs() != 1) return absl::OkStatus();
    if (IsRefType(n->output_type(0)) || n->attrs().Find("data_format") != nullptr) return absl::OkStatus();
    const int rank = n->output_shape(0).rank();
    if (rank < 4 || rank > 5) return absl::OkStatus();
    int there = 0, missing = 0;
    for (int i = 0; i < n->num_inputs(); ++i) {
      const PartialShape& s = ShapeOf(n->input(i));
      if (IsRefType(n->input_type(i)) || !s.known_rank() || s.rank() > rank) return absl::OkStatus();
      if (s.rank() == rank) {
        there += region_.contains(n->input(i));
        missing += !last_.contains(n->input(i)) && !(s.IsFullyKnown() && LongDims(s) <= 1);
      } else if (!(s.IsFullyKnown() && LongDims(s) == 0)) {
        // Broadcasting aligns the last dimensions; other meanings of operands of fewer dimensions have three of them.
        if (!s.IsFullyKnown() || LongDims(s) > 1 || n->num_inputs() != 2) return absl::OkStatus();
      }
    }
    if (there == 0 || missing > 1) return absl::OkStatus();
    std::vector<Endpoint> inputs(n->inputs().begin(), n->inputs().end());
    for (Endpoint& e : inputs) {
      const PartialShape& s = ShapeOf(e);
      if (s.rank() == rank) {
        ASSIGN_OR_RETURN(e, Last(*n, e, rank));
      } else if (s.IsFullyKnown() && LongDims(s) == 1) {
        ASSIGN_OR_RETURN(e, View(*n, e, rank));
      }
    }
    return Replace(n, std::move(inputs), n->attrs(), /*image=*/true, rank).status();
  }

  // --- The border ---

  absl::StatusOr<bool> Finish() {
    for (const Replaced& r : replaced_) {
      if (!r.image) continue;
      const bool read = std::any_of(r.node->out_edges().begin(), r.node->out_edges().end(),
                                    [&](const OutEdge& e) { return !made_.contains(e.to); });
      if (!read) continue;
      ASSIGN_OR_RETURN(Endpoint back, AddTranspose(*r.node, last_.at({r.node, 0}), ToFirst(r.rank)));
      RETURN_IF_ERROR(graph_->ReplaceEndpoint({r.node, 0}, back));
    }
    for (auto it = replaced_.rbegin(); it != replaced_.rend(); ++it) {
      Node* n = it->node;
      const std::vector<Node*> after(n->control_outputs().begin(), n->control_outputs().end());
      for (Node* a : after) {
        graph_->RemoveControlEdge(n, a);
        if (!made_.contains(a)) RETURN_IF_ERROR(graph_->AddControlEdge(made_.at(n), a));
      }
      graph_->RemoveNode(n);
    }
    return !replaced_.empty();
  }

  struct Replaced {
    Node* node;
    bool image;
    int rank;
  };
  Graph* graph_;
  const PassContext& context_;
  absl::flat_hash_map<Endpoint, Endpoint> last_;  // images with channels first, and the same with channels last
  absl::flat_hash_set<Endpoint> region_;          // those of them that come with channels last
  absl::flat_hash_map<const Node*, Node*> made_;  // what stands for a node
  std::vector<Replaced> replaced_;                // in topological order
};

}  // namespace

absl::StatusOr<bool> ChannelsLast::Run(Graph* graph, const PassContext& context) const {
  return Rewriter(graph, context).Run();
}

}  // namespace sluice
