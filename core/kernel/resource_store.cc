#include "core/kernel/resource_store.h"

#include <algorithm>

namespace sluice {
namespace {

std::pair<std::string, std::string> KeyOf(absl::string_view container, absl::string_view name) {
  return {std::string(container.empty() ? ResourceStore::kDefaultContainer : container), std::string(name)};
}

}  // namespace

void ResourceStore::Insert(absl::string_view container, absl::string_view name, RefPtr<Resource> resource) {
  absl::MutexLock lock(&mu_);
  // The swap leaves the old resource in the parameter, which goes after the lock.
  resources_[KeyOf(container, name)].swap(resource);
}

RefPtr<Resource> ResourceStore::FindAny(absl::string_view container, absl::string_view name) const {
  absl::MutexLock lock(&mu_);
  auto it = resources_.find(KeyOf(container, name));
  return it == resources_.end() ? nullptr : it->second;
}

bool ResourceStore::Erase(absl::string_view container, absl::string_view name) {
  RefPtr<Resource> gone;
  absl::MutexLock lock(&mu_);
  auto it = resources_.find(KeyOf(container, name));
  if (it == resources_.end()) return false;
  gone.swap(it->second);
  resources_.erase(it);
  return true;
}

void ResourceStore::EraseContainer(absl::string_view container) {
  std::vector<RefPtr<Resource>> gone;  // destroyed after the lock is released: destructors may come back to the store
  const std::string wanted = KeyOf(container, "").first;
  absl::MutexLock lock(&mu_);
  for (auto it = resources_.begin(); it != resources_.end();) {
    if (it->first.first == wanted) {
      gone.push_back(std::move(it->second));
      resources_.erase(it++);
    } else {
      ++it;
    }
  }
}

void ResourceStore::Clear() {
  decltype(resources_) gone;
  absl::MutexLock lock(&mu_);
  gone.swap(resources_);
}

std::vector<std::pair<std::string, std::string>> ResourceStore::List() const {
  std::vector<std::pair<std::string, RefPtr<Resource>>> held;
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [key, resource] : resources_)
      held.emplace_back(absl::StrCat(key.first, "/", key.second), resource);
  }
  std::sort(held.begin(), held.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::pair<std::string, std::string>> list;
  for (const auto& [name, resource] : held) list.emplace_back(name, resource->DebugString());
  return list;
}

absl::StatusOr<RefPtr<Resource>> ResolveHandle(const ResourceHandle& handle, const ResourceStore& store) {
  if (handle.resource) return handle.resource;
  RefPtr<Resource> found = store.FindAny(handle.container, handle.name);
  if (!found) {
    return NotFound("no resource '", handle.name, "' in container '",
                    handle.container.empty() ? ResourceStore::kDefaultContainer : handle.container,
                    "': it was not initialized, or its container was reset");
  }
  return found;
}

}  // namespace sluice
