#include "core/graph/function.h"

#include "core/base/status.h"

namespace sluice {

absl::Status FunctionLibrary::Add(std::unique_ptr<Function> function) {
  auto [it, fresh] = functions_.try_emplace(function->name, nullptr);
  if (!fresh) return AlreadyExists("function '", function->name, "' is defined twice");
  it->second = std::move(function);
  return absl::OkStatus();
}

const Function* FunctionLibrary::Find(absl::string_view name) const {
  auto it = functions_.find(name);
  return it == functions_.end() ? nullptr : it->second.get();
}

std::vector<const Function*> FunctionLibrary::List() const {
  std::vector<const Function*> all;
  for (const auto& [name, f] : functions_) all.push_back(f.get());
  return all;
}

absl::Status FunctionLibrary::AddAll(const FunctionLibrary& other) {
  for (const auto& [name, f] : other.functions_) {
    auto [it, fresh] = functions_.try_emplace(name, f);
    if (!fresh && it->second != f) return AlreadyExists("function '", name, "' is defined twice");
  }
  return absl::OkStatus();
}

}  // namespace sluice
