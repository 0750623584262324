#include "core/kernel/collectives.h"

#include <tuple>
#include <utility>

#include "core/base/status.h"
#include "core/device/device_name.h"

namespace sluice {
namespace {

constexpr char kContainer[] = "sluice.runtime";
constexpr char kName[] = "collectives";

absl::string_view NameOf(MergeOp merge) {
  switch (merge) {
    case MergeOp::kAdd:
      return "Add";
    case MergeOp::kMul:
      return "Mul";
    case MergeOp::kMax:
      return "Max";
    case MergeOp::kMin:
      return "Min";
  }
  return "?";
}

auto OrderOf(const DeviceName& d) {
  return std::make_tuple(d.job.value_or(""), d.replica.value_or(0), d.task.value_or(0), d.type.value_or(""),
                         d.index.value_or(0));
}

}  // namespace

std::string CollectiveRequest::Signature() const {
  const char* name = kind == CollectiveKind::kReduce   ? "CollectiveReduce"
                     : kind == CollectiveKind::kGather ? "CollectiveGather"
                                                       : "CollectiveBcast";
  std::string text = absl::StrCat(name, " of ", DTypeName(dtype), " ", shape.ToString());
  if (kind == CollectiveKind::kReduce) absl::StrAppend(&text, ", ", NameOf(merge), divide ? ", Div" : ", Id");
  absl::StrAppend(&text, ", ", group_size, " members");
  return text;
}

void Collectives::Install(RefPtr<Collectives> collectives, ResourceStore* store) {
  store->Insert(kContainer, kName, std::move(collectives));
}

absl::StatusOr<RefPtr<Collectives>> Collectives::Of(const ResourceStore& store) {
  ASSIGN_OR_RETURN(RefPtr<Collectives> found, store.Find<Collectives>(kContainer, kName));
  if (!found) return FailedPrecondition("this session has no collectives");
  return found;
}

bool DeviceBefore(const std::string& a, const std::string& b) {
  absl::StatusOr<DeviceName> x = DeviceName::Parse(a), y = DeviceName::Parse(b);
  if (!x.ok() || !y.ok()) return a < b;
  return OrderOf(*x) < OrderOf(*y);
}

}  // namespace sluice
