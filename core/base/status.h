// Macros and helpers that carry absl::Status through fallible code.
//
//   ASSIGN_OR_RETURN(Tensor t, MakeTensor(shape));
//   RETURN_IF_ERROR(Check(t));
//   return InvalidArgument("wanted rank 2, found ", shape.ToString());
#ifndef SLUICE_CORE_BASE_STATUS_H_
#define SLUICE_CORE_BASE_STATUS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

#define RETURN_IF_ERROR(expr)                       \
  do {                                              \
    ::absl::Status sluice_status_ = (expr);         \
    if (ABSL_PREDICT_FALSE(!sluice_status_.ok())) { \
      return sluice_status_;                        \
    }                                               \
  } while (false)

#define SLUICE_CONCAT_INNER_(a, b) a##b
#define SLUICE_CONCAT_(a, b) SLUICE_CONCAT_INNER_(a, b)
#define ASSIGN_OR_RETURN(lhs, expr) SLUICE_ASSIGN_OR_RETURN_(SLUICE_CONCAT_(sluice_statusor_, __LINE__), lhs, expr)
#define SLUICE_ASSIGN_OR_RETURN_(var, lhs, expr)          \
  auto var = (expr);                                      \
  if (ABSL_PREDICT_FALSE(!var.ok())) return var.status(); \
  lhs = std::move(var).value()

// Ends the process with a message: for broken invariants of our own, never for input.
#define SLUICE_CHECK(cond) (ABSL_PREDICT_TRUE(cond) ? (void)0 : ::sluice::CheckFailed(#cond, __FILE__, __LINE__))

namespace sluice {

[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);

template <typename... Args>
absl::Status InvalidArgument(const Args&... args) {
  return absl::InvalidArgumentError(absl::StrCat(args...));
}
template <typename... Args>
absl::Status NotFound(const Args&... args) {
  return absl::NotFoundError(absl::StrCat(args...));
}
template <typename... Args>
absl::Status FailedPrecondition(const Args&... args) {
  return absl::FailedPreconditionError(absl::StrCat(args...));
}
template <typename... Args>
absl::Status OutOfRange(const Args&... args) {
  return absl::OutOfRangeError(absl::StrCat(args...));
}
template <typename... Args>
absl::Status Unimplemented(const Args&... args) {
  return absl::UnimplementedError(absl::StrCat(args...));
}
template <typename... Args>
absl::Status Internal(const Args&... args) {
  return absl::InternalError(absl::StrCat(args...));
}
template <typename... Args>
absl::Status AlreadyExists(const Args&... args) {
  return absl::AlreadyExistsError(absl::StrCat(args...));
}
template <typename... Args>
absl::Status ResourceExhausted(const Args&... args) {
  return absl::ResourceExhaustedError(absl::StrCat(args...));
}
template <typename... Args>
absl::Status DataLoss(const Args&... args) {
  return absl::DataLossError(absl::StrCat(args...));
}

// The same code with `prefix` before the message; OK stays OK.
absl::Status Annotate(const absl::Status& status, absl::string_view prefix);

}  // namespace sluice

#endif  // SLUICE_CORE_BASE_STATUS_H_
