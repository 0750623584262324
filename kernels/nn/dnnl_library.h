// oneDNN's C API, loaded with dlopen when the first kernel wants it, so that programs start without it and run without
// it.
//
//   if (const DnnlApi* dnnl = Dnnl()) {
//     OneThread one;                          // this thread's calls into oneDNN start no threads of its own
//     dnnl->primitive_execute(...);
//   }
//
// Debian builds oneDNN for OpenMP. Parallel work is ours to split: every call is made under OneThread.
#ifndef SLUICE_KERNELS_NN_DNNL_LIBRARY_H_
#define SLUICE_KERNELS_NN_DNNL_LIBRARY_H_

#include <dnnl.h>

namespace sluice {

struct DnnlApi {
  decltype(&::dnnl_memory_desc_init_by_tag) memory_desc_init_by_tag;
  decltype(&::dnnl_memory_desc_get_size) memory_desc_get_size;
  decltype(&::dnnl_memory_desc_equal) memory_desc_equal;
  decltype(&::dnnl_dilated_convolution_forward_desc_init) convolution_forward_desc_init;
  decltype(&::dnnl_dilated_convolution_backward_data_desc_init) convolution_backward_data_desc_init;
  decltype(&::dnnl_dilated_convolution_backward_weights_desc_init) convolution_backward_weights_desc_init;
  decltype(&::dnnl_primitive_attr_create) primitive_attr_create;
  decltype(&::dnnl_primitive_attr_destroy) primitive_attr_destroy;
  decltype(&::dnnl_primitive_attr_set_scratchpad_mode) primitive_attr_set_scratchpad_mode;
  decltype(&::dnnl_primitive_desc_create) primitive_desc_create;
  decltype(&::dnnl_primitive_desc_destroy) primitive_desc_destroy;
  decltype(&::dnnl_primitive_desc_query_md) primitive_desc_query_md;
  decltype(&::dnnl_primitive_desc_query) primitive_desc_query;
  decltype(&::dnnl_reorder_primitive_desc_create) reorder_primitive_desc_create;
  decltype(&::dnnl_primitive_create) primitive_create;
  decltype(&::dnnl_primitive_destroy) primitive_destroy;
  decltype(&::dnnl_primitive_execute) primitive_execute;
  decltype(&::dnnl_memory_create) memory_create;
  decltype(&::dnnl_memory_destroy) memory_destroy;
  decltype(&::dnnl_stream_create) stream_create;
  decltype(&::dnnl_stream_destroy) stream_destroy;
  dnnl_engine_t engine = nullptr;
  int (*omp_get_max_threads)() = nullptr;
  void (*omp_set_num_threads)(int) = nullptr;
};

// Null when the library is not there, or the environment variable SLUICE_DNNL is 0.
const DnnlApi* Dnnl();

// Limits OpenMP to one thread for the calling thread, and restores what was set.
class OneThread {
 public:
  OneThread();
  ~OneThread();
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

}  // namespace sluice

#endif  // SLUICE_KERNELS_NN_DNNL_LIBRARY_H_
