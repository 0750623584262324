// Ops that read, write and decode: files, checkpoints, records, images, summaries. All run on the host.
#ifndef SLUICE_OPS_DATA_DATA_OPS_H_
#define SLUICE_OPS_DATA_DATA_OPS_H_

#include "core/op/op_registry.h"

namespace sluice {

void DefineDataOps(OpRegistry& ops);

inline constexpr uint32_t kDataTraits = kHostOnly | kNotDifferentiable;

// The topics, each in a file of its name.
void DefineCheckpointOps(OpRegistry& ops);  // checkpoint.cc
void DefineFileOps(OpRegistry& ops);        // file.cc
void DefineDecodeOps(OpRegistry& ops);      // decode.cc: bytes to tensors and back
void DefineExampleOps(OpRegistry& ops);     // example.cc: tf.Example
void DefineSummaryOps(OpRegistry& ops);     // summary.cc

}  // namespace sluice

#endif  // SLUICE_OPS_DATA_DATA_OPS_H_
