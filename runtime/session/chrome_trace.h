// The steps of a session as a Chrome trace: open it in chrome://tracing or ui.perfetto.dev.
//
// A device is a process, a thread of it a row; each node is a complete event with its op, its outputs and the time it
// waited between being ready and running. Live memory is a counter.
#ifndef SLUICE_RUNTIME_SESSION_CHROME_TRACE_H_
#define SLUICE_RUNTIME_SESSION_CHROME_TRACE_H_

#include <string>
#include <vector>

#include "runtime/session/session.h"

namespace sluice {

// JSON in the "trace event format", object form.
std::string ToChromeTrace(const std::vector<StepStats>& steps);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_SESSION_CHROME_TRACE_H_
