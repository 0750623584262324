// The registry of ops and the builder that defines one.
//
//   void DefineSoftplus(OpRegistry& ops) {
//     ops.Define("Softplus", "log(1 + exp(features)), element by element, safe for large |x|.")
//         .Input("features", "T").Output("activations", "T").Type("T", kFloatingTypes)
//         .Traits(kElementwise | kMonotone)
//         .Shape(SameAs("features"))
//         .Gradient([](GradientScope& g) { ... });
//   }
//
// Argument types: "T" (an attribute), "float" (fixed), "N * T" (listed), "Tlist" (a list(type) attribute), "Ref(T)".
// An argument names its attribute; the attribute itself comes from Type() or Attr(). An int attribute that counts an
// argument is declared by itself (minimum 1 unless Attr says otherwise). Attr() takes TensorFlow's grammar: "padding:
// {'SAME', 'VALID'}", "strides: list(int)", "N: int >= 1", "T: {float, double} = float", "keep_dims: bool = false",
// "shape: shape = { unknown_rank: true }". Mistakes in a definition are kept and returned by Finish().
//
// Threads: definitions come first, from one thread; after Finish() the registry is read from any thread. Custom ops may
// be added later through Add, which locks.
#ifndef SLUICE_CORE_OP_OP_REGISTRY_H_
#define SLUICE_CORE_OP_OP_REGISTRY_H_

#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "core/op/op_def.h"

namespace sluice {

class OpBuilder {
 public:
  explicit OpBuilder(OpDef* op, std::vector<std::string>* errors) : op_(op), errors_(errors) {}
  OpBuilder& Input(absl::string_view name, absl::string_view type, absl::string_view doc = "");
  OpBuilder& Output(absl::string_view name, absl::string_view type, absl::string_view doc = "");
  OpBuilder& Type(absl::string_view name, DTypeSet allowed = kAllTypes, DType default_type = DType::kInvalid);
  OpBuilder& Attr(absl::string_view declaration, absl::string_view doc = "");
  // The default of the last attribute, for values that Attr's grammar does not have (tensors).
  OpBuilder& Default(AttrValue value);
  OpBuilder& Traits(uint32_t traits);  // adds
  OpBuilder& Shape(ShapeRule rule);
  OpBuilder& Value(ValueRule rule);
  // A rule returns absl::Status, or void when it cannot fail on its own.
  template <typename Rule>
  OpBuilder& Gradient(Rule rule) {
    if constexpr (std::is_void_v<std::invoke_result_t<Rule, GradientScope&>>) {
      return SetGradient([rule = std::move(rule)](GradientScope& g) {
        rule(g);
        return absl::OkStatus();
      });
    } else {
      return SetGradient(std::move(rule));
    }
  }
  OpBuilder& NotDifferentiable() { return Traits(kNotDifferentiable); }
  OpBuilder& Deprecated(int since, absl::string_view why);
  OpBuilder& Doc(absl::string_view description);

 private:
  OpBuilder& SetGradient(GradientRule rule);
  OpDef* op_;
  std::vector<std::string>* errors_;
};

class OpRegistry {
 public:
  OpRegistry();
  OpRegistry(const OpRegistry&) = delete;
  OpRegistry& operator=(const OpRegistry&) = delete;

  OpBuilder Define(absl::string_view name, absl::string_view summary);
  // The first mistakes of all definitions since the last call, or OK.
  absl::Status Finish();

  // Null when there is no such op. The pointer lives as long as the registry.
  const OpDef* Find(absl::string_view name) const;
  // As Find; the error offers the nearest names.
  absl::StatusOr<const OpDef*> Get(absl::string_view name) const;
  // All ops, sorted by name.
  std::vector<const OpDef*> List() const;

 private:
  mutable absl::Mutex mu_;
  absl::flat_hash_map<std::string, std::unique_ptr<OpDef>> ops_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> errors_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_OP_OP_REGISTRY_H_
