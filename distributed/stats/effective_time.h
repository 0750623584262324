// What the training that this process drives says about its time, for who asks the server of the process: a serialised
// EffectiveTime (distributed/proto/worker.proto), empty when there is none.
//
// Threads: any.
#ifndef SLUICE_DISTRIBUTED_STATS_EFFECTIVE_TIME_H_
#define SLUICE_DISTRIBUTED_STATS_EFFECTIVE_TIME_H_

#include <string>

namespace sluice {

void SetEffectiveTime(std::string serialised);
std::string GetEffectiveTime();

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_STATS_EFFECTIVE_TIME_H_
