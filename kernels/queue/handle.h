// Kernels that make the handle of a shared resource, and how others find what a handle names.
//
// A resource R has Options with a `name`, `static StatusOr<RefPtr<R>> Make(Options)` and `Status CheckSame(Options)`.
// It lives in the resource store under container and shared_name (else the node's name), so every plan and session on
// that store shares it.
#ifndef SLUICE_KERNELS_QUEUE_HANDLE_H_
#define SLUICE_KERNELS_QUEUE_HANDLE_H_

#include <string>
#include <utility>

#include "core/base/status.h"
#include "core/kernel/kernel.h"

namespace sluice {

template <typename R>
class HandleKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(std::string container, p.Attr<std::string>("container"));
    ASSIGN_OR_RETURN(std::string name, p.Attr<std::string>("shared_name"));
    if (container.empty()) container = ResourceStore::kDefaultContainer;
    if (name.empty()) name = p.node().name;
    ASSIGN_OR_RETURN(typename R::Options options, ReadOptions(p));
    options.name = name;
    ResourceHandle handle;
    Describe(options, &handle);
    ASSIGN_OR_RETURN(RefPtr<R> resource, p.resources->FindOrMake<R>(container, name, [&] { return R::Make(options); }));
    RETURN_IF_ERROR(resource->CheckSame(options));
    handle.device = p.device->name();
    handle.container = std::move(container);
    handle.name = std::move(name);
    handle.resource = std::move(resource);
    handle_ = Tensor::Scalar(std::move(handle));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const final {
    c.SetOutput(0, handle_);
    return absl::OkStatus();
  }

 private:
  virtual absl::StatusOr<typename R::Options> ReadOptions(PrepareContext& p) const = 0;
  // Fills type_name, dtypes and shapes.
  virtual void Describe(const typename R::Options& options, ResourceHandle* handle) const = 0;
  Tensor handle_;
};

// What a handle (a scalar; reference edges carry one too) names. The error says what it is instead.
template <typename R>
absl::StatusOr<RefPtr<R>> FindByHandle(const Tensor& handle, const ResourceStore& store, const char* wanted) {
  if (handle.dtype() != DType::kResource || handle.num_elements() != 1) {
    return InvalidArgument("the handle of ", wanted, " must be one resource handle, found ", handle.ToString());
  }
  const ResourceHandle& h = handle.scalar<ResourceHandle>();
  ASSIGN_OR_RETURN(RefPtr<Resource> found, ResolveHandle(h, store));
  auto* resource = dynamic_cast<R*>(found.get());
  if (resource == nullptr) {
    return InvalidArgument("'", h.name, "' is a ", found->DebugString(), ", wanted ", wanted);
  }
  return RefPtr<R>::Share(resource);
}

}  // namespace sluice

#endif  // SLUICE_KERNELS_QUEUE_HANDLE_H_
