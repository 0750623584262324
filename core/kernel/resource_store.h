// The resources of a device (variables, queues, tables, random states), by container and name.
//
// Threads: any method from any thread.
#ifndef SLUICE_CORE_KERNEL_RESOURCE_STORE_H_
#define SLUICE_CORE_KERNEL_RESOURCE_STORE_H_

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "core/base/status.h"
#include "core/types/resource_handle.h"

namespace sluice {

class ResourceStore {
 public:
  // The name used when a node gives no container.
  static constexpr char kDefaultContainer[] = "localhost";

  // Null when there is none. A resource of another C++ type is an error that names both.
  template <typename T>
  absl::StatusOr<RefPtr<T>> Find(absl::string_view container, absl::string_view name) const {
    RefPtr<Resource> r = FindAny(container, name);
    if (!r) return RefPtr<T>();
    T* t = dynamic_cast<T*>(r.get());
    if (t == nullptr) {
      return InvalidArgument("resource ", container, "/", name, " is a ", r->DebugString(),
                             ", which this op cannot use");
    }
    return RefPtr<T>::Share(t);
  }
  template <typename T>
  absl::StatusOr<RefPtr<T>> FindOrMake(absl::string_view container, absl::string_view name,
                                       const std::function<absl::StatusOr<RefPtr<T>>()>& make) {
    absl::MutexLock lock(&make_mu_);
    ASSIGN_OR_RETURN(RefPtr<T> found, Find<T>(container, name));
    if (found) return found;
    ASSIGN_OR_RETURN(RefPtr<T> made, make());
    Insert(container, name, made);
    return made;
  }
  // Replaces what was there.
  void Insert(absl::string_view container, absl::string_view name, RefPtr<Resource> resource);
  RefPtr<Resource> FindAny(absl::string_view container, absl::string_view name) const;
  bool Erase(absl::string_view container, absl::string_view name);
  void EraseContainer(absl::string_view container);
  void Clear();
  // (container/name, DebugString) of all.
  std::vector<std::pair<std::string, std::string>> List() const;

 private:
  mutable absl::Mutex mu_;
  absl::Mutex make_mu_ ABSL_ACQUIRED_BEFORE(mu_);
  absl::flat_hash_map<std::pair<std::string, std::string>, RefPtr<Resource>> resources_ ABSL_GUARDED_BY(mu_);
};

// Resolves a handle: the resource it carries, else by container and name. NOT_FOUND when neither.
absl::StatusOr<RefPtr<Resource>> ResolveHandle(const ResourceHandle& handle, const ResourceStore& store);

}  // namespace sluice

#endif  // SLUICE_CORE_KERNEL_RESOURCE_STORE_H_
