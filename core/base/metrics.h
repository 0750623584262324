// Counters, gauges and histograms, and their text in the format of Prometheus (version 0.0.4).
//
//   Metrics metrics;
//   Counter& steps = metrics.CounterOf("sluice_steps_total", "Steps that have ended.", {{"code", "OK"}});
//   steps.Add();                              // one relaxed addition; the reference lives as long as `metrics`
//   metrics.OnCollect([](MetricsText& out) {  // what somebody else counts is asked for when the text is made
//     out.Family("sluice_memory_bytes", "gauge", "Memory by use.");
//     out.Sample({{"use", "live"}}, 12);
//   });
//   std::string text = metrics.Text();
//
// Threads: any method from any thread. Asking for an instrument takes a lock: keep it where it is used often.
// Limits:  a family has at most kMaxSeries series: further labels share one with the value "other", so that names which
//          come from outside cannot fill the memory.
#ifndef SLUICE_CORE_BASE_METRICS_H_
#define SLUICE_CORE_BASE_METRICS_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"

namespace sluice {

class Counter {
 public:
  void Add(int64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

// Goes up and down.
class Gauge {
 public:
  void Set(int64_t value) { value_.store(value, std::memory_order_relaxed); }
  void Add(int64_t n) { value_.fetch_add(n, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

// How often values were at most each bound.
class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds);
  void Observe(double value);

 private:
  friend class Metrics;
  const std::vector<double> bounds_;                      // rising
  const std::unique_ptr<std::atomic<int64_t>[]> counts_;  // of each bucket, and of those above
  std::atomic<double> sum_{0};
};

// From 0.1 ms to 100 s, four for each power of ten.
const std::vector<double>& SecondsBuckets();

using MetricLabels = std::vector<std::pair<std::string, std::string>>;

// Writes families one after the other.
class MetricsText {
 public:
  // `type` is "counter", "gauge" or "histogram". REQUIRES: none of that name was written before.
  void Family(absl::string_view name, absl::string_view type, absl::string_view help);
  // Of the last family, whose name gets `suffix`.
  void Sample(const MetricLabels& labels, double value, absl::string_view suffix = "");
  std::string Take() { return std::move(text_); }

 private:
  std::string text_;
  std::string family_;
};

class Metrics {
 public:
  static constexpr size_t kMaxSeries = 1000;

  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // The one with these labels, which is made when there is none. REQUIRES: a name has one type and help, and consists
  // of letters, digits and '_'.
  Counter& CounterOf(absl::string_view name, absl::string_view help, const MetricLabels& labels = {});
  Gauge& GaugeOf(absl::string_view name, absl::string_view help, const MetricLabels& labels = {});
  Histogram& HistogramOf(absl::string_view name, absl::string_view help, const MetricLabels& labels,
                         const std::vector<double>& bounds);
  void OnCollect(std::function<void(MetricsText&)> collect);

  std::string Text() const;

 private:
  struct Family;
  template <typename T>
  T& Find(absl::string_view name, absl::string_view type, absl::string_view help, const MetricLabels& labels,
          const std::function<std::unique_ptr<T>()>& make);

  mutable absl::Mutex mu_;
  std::map<std::string, std::unique_ptr<Family>, std::less<>> families_ ABSL_GUARDED_BY(mu_);
  std::vector<std::function<void(MetricsText&)>> collectors_ ABSL_GUARDED_BY(mu_);
};

// What is counted where no server is known: kernels, the process itself. Lives as long as the process.
Metrics& ProcessMetrics();

}  // namespace sluice

#endif  // SLUICE_CORE_BASE_METRICS_H_
