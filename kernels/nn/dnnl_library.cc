#include "kernels/nn/dnnl_library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>

namespace sluice {
namespace {

template <typename Fn>
bool Resolve(void* library, const char* name, Fn* fn) {
  *fn = reinterpret_cast<Fn>(dlsym(library, name));
  return *fn != nullptr;
}

const DnnlApi* Load() {
  const char* asked = std::getenv("SLUICE_DNNL");
  if (asked != nullptr && std::strcmp(asked, "0") == 0) return nullptr;
  void* library = dlopen("libdnnl.so.2", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return nullptr;
  static DnnlApi api;
  decltype(&::dnnl_engine_create) engine_create = nullptr;
  const bool found =
      Resolve(library, "dnnl_engine_create", &engine_create) &&
      Resolve(library, "dnnl_memory_desc_init_by_tag", &api.memory_desc_init_by_tag) &&
      Resolve(library, "dnnl_memory_desc_get_size", &api.memory_desc_get_size) &&
      Resolve(library, "dnnl_memory_desc_equal", &api.memory_desc_equal) &&
      Resolve(library, "dnnl_dilated_convolution_forward_desc_init", &api.convolution_forward_desc_init) &&
      Resolve(library, "dnnl_dilated_convolution_backward_data_desc_init", &api.convolution_backward_data_desc_init) &&
      Resolve(library, "dnnl_dilated_convolution_backward_weights_desc_init",
              &api.convolution_backward_weights_desc_init) &&
      Resolve(library, "dnnl_primitive_attr_create", &api.primitive_attr_create) &&
      Resolve(library, "dnnl_primitive_attr_destroy", &api.primitive_attr_destroy) &&
      Resolve(library, "dnnl_primitive_attr_set_scratchpad_mode", &api.primitive_attr_set_scratchpad_mode) &&
      Resolve(library, "dnnl_primitive_desc_create", &api.primitive_desc_create) &&
      Resolve(library, "dnnl_primitive_desc_destroy", &api.primitive_desc_destroy) &&
      Resolve(library, "dnnl_primitive_desc_query_md", &api.primitive_desc_query_md) &&
      Resolve(library, "dnnl_primitive_desc_query", &api.primitive_desc_query) &&
      Resolve(library, "dnnl_reorder_primitive_desc_create", &api.reorder_primitive_desc_create) &&
      Resolve(library, "dnnl_primitive_create", &api.primitive_create) &&
      Resolve(library, "dnnl_primitive_destroy", &api.primitive_destroy) &&
      Resolve(library, "dnnl_primitive_execute", &api.primitive_execute) &&
      Resolve(library, "dnnl_memory_create", &api.memory_create) &&
      Resolve(library, "dnnl_memory_destroy", &api.memory_destroy) &&
      Resolve(library, "dnnl_stream_create", &api.stream_create) &&
      Resolve(library, "dnnl_stream_destroy", &api.stream_destroy);
  if (!found || engine_create(&api.engine, dnnl_cpu, 0) != dnnl_success) return nullptr;
  // Libraries that libdnnl depends on are searched too; a build without OpenMP has neither.
  Resolve(library, "omp_get_max_threads", &api.omp_get_max_threads);
  Resolve(library, "omp_set_num_threads", &api.omp_set_num_threads);
  return &api;
}

}  // namespace

const DnnlApi* Dnnl() {
  static const DnnlApi* const api = Load();
  return api;
}

OneThread::OneThread() : before_(0) {
  const DnnlApi* api = Dnnl();
  if (api == nullptr || api->omp_set_num_threads == nullptr || api->omp_get_max_threads == nullptr) return;
  before_ = api->omp_get_max_threads();
  if (before_ == 1) {
    before_ = 0;
    return;
  }
  api->omp_set_num_threads(1);
}

OneThread::~OneThread() {
  if (before_ > 0) Dnnl()->omp_set_num_threads(before_);
}

}  // namespace sluice
