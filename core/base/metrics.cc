#include "core/base/metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"

namespace sluice {
namespace {

std::string Escape(absl::string_view text, bool quotes) {
  std::string out;
  for (char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
  return out;
}

std::string LabelText(const MetricLabels& labels) {
  if (labels.empty()) return "";
  std::string out = "{";
  for (const auto& [name, value] : labels) {
    absl::StrAppend(&out, out.size() == 1 ? "" : ",", name, "=\"", Escape(value, true), "\"");
  }
  return out + "}";
}

std::string Number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  if (value == std::floor(value) && std::fabs(value) < 1e15) return absl::StrCat(static_cast<int64_t>(value));
  return absl::StrFormat("%.17g", value);
}

// What any program that is watched by Prometheus tells of itself.
void CollectProcess(MetricsText& out) {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec); };
  out.Family("process_cpu_seconds_total", "counter", "Processor time of the process, user and system.");
  out.Sample({}, seconds(usage.ru_utime) + seconds(usage.ru_stime));
  long total = 0, resident = 0;
  if (std::FILE* f = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(f, "%ld %ld", &total, &resident) != 2) resident = 0;
    std::fclose(f);
  }
  out.Family("process_resident_memory_bytes", "gauge", "Memory of the process that is in RAM.");
  out.Sample({}, static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)));
  int open = 0;
  if (DIR* fds = opendir("/proc/self/fd")) {
    while (readdir(fds) != nullptr) ++open;
    closedir(fds);
    open -= 3;  // ".", ".." and this look
  }
  out.Family("process_open_fds", "gauge", "Open file descriptors.");
  out.Sample({}, open);
}

}  // namespace

Histogram::Histogram(std::vector<double> bounds)
    : bounds_(std::move(bounds)), counts_(new std::atomic<int64_t>[bounds_.size() + 1]) {
  for (size_t i = 0; i <= bounds_.size(); ++i) counts_[i].store(0, std::memory_order_relaxed);
}

void Histogram::Observe(double value) {
  const size_t bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  counts_[bucket].fetch_add(1, std::memory_order_relaxed);
  double sum = sum_.load(std::memory_order_relaxed);
  while (!sum_.compare_exchange_weak(sum, sum + value, std::memory_order_relaxed)) {
  }
}

const std::vector<double>& SecondsBuckets() {
  static const auto* bounds = [] {
    auto* b = new std::vector<double>;
    for (double power : {1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0}) {
      for (double step : {1.0, 2.0, 4.0, 7.0}) b->push_back(power * step);
    }
    b->push_back(100.0);
    return b;
  }();
  return *bounds;
}

void MetricsText::Family(absl::string_view name, absl::string_view type, absl::string_view help) {
  family_ = std::string(name);
  absl::StrAppend(&text_, "# HELP ", name, " ", Escape(help, false), "\n# TYPE ", name, " ", type, "\n");
}

void MetricsText::Sample(const MetricLabels& labels, double value, absl::string_view suffix) {
  absl::StrAppend(&text_, family_, suffix, LabelText(labels), " ", Number(value), "\n");
}

struct Metrics::Family {
  struct Series {
    MetricLabels labels;
    std::unique_ptr<Counter> counter;
    std::unique_ptr<Gauge> gauge;
    std::unique_ptr<Histogram> histogram;
    void Keep(std::unique_ptr<Counter> c) { counter = std::move(c); }
    void Keep(std::unique_ptr<Gauge> g) { gauge = std::move(g); }
    void Keep(std::unique_ptr<Histogram> h) { histogram = std::move(h); }
    Counter* Get(Counter*) const { return counter.get(); }
    Gauge* Get(Gauge*) const { return gauge.get(); }
    Histogram* Get(Histogram*) const { return histogram.get(); }
  };
  std::string type;
  std::string help;
  std::map<std::string, Series> series;  // by the text of their labels
};

Metrics::Metrics() = default;
Metrics::~Metrics() = default;

template <typename T>
T& Metrics::Find(absl::string_view name, absl::string_view type, absl::string_view help, const MetricLabels& labels,
                 const std::function<std::unique_ptr<T>()>& make) {
  absl::MutexLock lock(&mu_);
  auto found = families_.find(name);
  if (found == families_.end()) {
    found = families_.emplace(std::string(name), std::make_unique<Family>()).first;
    found->second->type = std::string(type);
    found->second->help = std::string(help);
  }
  Family& family = *found->second;
  SLUICE_CHECK(family.type == type);
  MetricLabels kept = labels;
  std::string key = LabelText(kept);
  if (family.series.size() >= kMaxSeries && family.series.count(key) == 0) {
    for (auto& [label, value] : kept) value = "other";
    key = LabelText(kept);
  }
  Family::Series& series = family.series[key];
  T* instrument = series.Get(static_cast<T*>(nullptr));
  if (instrument == nullptr) {
    series.labels = std::move(kept);
    series.Keep(make());
    instrument = series.Get(static_cast<T*>(nullptr));
  }
  return *instrument;
}

Counter& Metrics::CounterOf(absl::string_view name, absl::string_view help, const MetricLabels& labels) {
  return Find<Counter>(name, "counter", help, labels, [] { return std::make_unique<Counter>(); });
}

Gauge& Metrics::GaugeOf(absl::string_view name, absl::string_view help, const MetricLabels& labels) {
  return Find<Gauge>(name, "gauge", help, labels, [] { return std::make_unique<Gauge>(); });
}

Histogram& Metrics::HistogramOf(absl::string_view name, absl::string_view help, const MetricLabels& labels,
                                const std::vector<double>& bounds) {
  return Find<Histogram>(name, "histogram", help, labels, [&] { return std::make_unique<Histogram>(bounds); });
}

void Metrics::OnCollect(std::function<void(MetricsText&)> collect) {
  absl::MutexLock lock(&mu_);
  collectors_.push_back(std::move(collect));
}

std::string Metrics::Text() const {
  MetricsText out;
  std::vector<std::function<void(MetricsText&)>> collectors;
  {
    absl::MutexLock lock(&mu_);
    collectors = collectors_;
    for (const auto& [name, family] : families_) {
      out.Family(name, family->type, family->help);
      for (const auto& [key, s] : family->series) {
        if (s.counter) out.Sample(s.labels, static_cast<double>(s.counter->value()));
        if (s.gauge) out.Sample(s.labels, static_cast<double>(s.gauge->value()));
        if (!s.histogram) continue;
        const Histogram& h = *s.histogram;
        int64_t below = 0;
        for (size_t b = 0; b <= h.bounds_.size(); ++b) {
          below += h.counts_[b].load(std::memory_order_relaxed);
          MetricLabels labels = s.labels;
          labels.emplace_back("le", b < h.bounds_.size() ? absl::StrCat(h.bounds_[b]) : "+Inf");
          out.Sample(labels, static_cast<double>(below), "_bucket");
        }
        out.Sample(s.labels, h.sum_.load(std::memory_order_relaxed), "_sum");
        out.Sample(s.labels, static_cast<double>(below), "_count");
      }
    }
  }
  for (const auto& collect : collectors) collect(out);
  return out.Take();
}

Metrics& ProcessMetrics() {
  static Metrics* metrics = [] {
    auto* m = new Metrics;
    m->OnCollect(CollectProcess);
    return m;
  }();
  return *metrics;
}

}  // namespace sluice
