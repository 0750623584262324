#include "ops/collective/collective_ops.h"

#include "core/base/status.h"
#include "core/op/shape_context.h"

namespace sluice {
namespace {

constexpr uint32_t kTogether = kStateful | kBlocking | kSideEffect | kNotDifferentiable;

OpBuilder& Group(OpBuilder& b) {
  return b.Attr("group_size: int >= 1", "How many members there are.")
      .Attr("group_key: int", "Members ask with the same one.")
      .Attr("instance_key: int", "Of this op; members that do it together have the same one.");
}

constexpr char kHint[] = "Accepted and not used: the way is found from where the members are.";

}  // namespace

void DefineCollectiveOps(OpRegistry& ops) {
  OpBuilder reduce =
      ops.Define("CollectiveReduce", "Merges the inputs of all members, element by element; each gets the result.");
  reduce.Input("input", "T").Output("data", "T").Type("T", kArithmeticTypes);
  Group(reduce)
      .Attr("merge_op: {'Min', 'Max', 'Mul', 'Add'}")
      .Attr("final_op: {'Id', 'Div'}", "Div: divides the result by the number of members.")
      .Attr("subdiv_offsets: list(int)", "Accepted and not used: members split the tensor evenly.")
      .Attr("wait_for: list(int) = []", "Accepted and not used: no order of instances is needed.")
      .Attr("communication_hint: string = 'auto'", kHint)
      .Traits(kTogether)
      .Shape(SameAs("input"))
      .Doc(
          "Members are merged in an order that depends on their numbers alone, so every member gets the same bits, and "
          "gets them again when the program is repeated.");
  OpBuilder gather =
      ops.Define("CollectiveGather", "The inputs of all members one after the other, along dimension 0.");
  gather.Input("input", "T").Output("data", "T").Type("T", kPlainTypes);
  Group(gather)
      .Attr("shape: shape", "Of the output: dimension 0 is group_size times that of the input.")
      .Attr("communication_hint: string = 'auto'", kHint)
      .Traits(kTogether)
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(PartialShape out, c.Attr<PartialShape>("shape"));
        ASSIGN_OR_RETURN(int64_t members, c.Attr<int64_t>("group_size"));
        ASSIGN_OR_RETURN(PartialShape in, c.WithRankAtLeast(0, 1));
        if (in.known_rank()) {
          if (in.dim(0) >= 0) in.SetDim(0, in.dim(0) * members);
          absl::StatusOr<PartialShape> both = in.MergeWith(out);
          if (!both.ok()) {
            return InvalidArgument("shape is ", out.ToString(), ", and ", members, " inputs of ", c.input(0).ToString(),
                                   " make ", in.ToString());
          }
          out = *both;
        }
        c.SetOutput(0, out);
        return absl::OkStatus();
      });
  OpBuilder send = ops.Define("CollectiveBcastSend", "Gives its input to all members of the group.");
  send.Input("input", "T").Output("data", "T").Type("T", kPlainTypes);
  Group(send)
      .Attr("shape: shape")
      .Attr("communication_hint: string = 'auto'", kHint)
      .Traits(kTogether)
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(PartialShape shape, c.Attr<PartialShape>("shape"));
        ASSIGN_OR_RETURN(shape, shape.MergeWith(c.input(0)));
        c.SetOutput(0, shape);
        return absl::OkStatus();
      });
  OpBuilder recv = ops.Define("CollectiveBcastRecv", "The value that another member gives with CollectiveBcastSend.");
  recv.Output("data", "T").Type("T", kPlainTypes);
  Group(recv)
      .Attr("shape: shape", "Of the value; must be fully known.")
      .Attr("communication_hint: string = 'auto'", kHint)
      .Traits(kTogether)
      .Shape(FromAttr("shape"));
}

}  // namespace sluice
