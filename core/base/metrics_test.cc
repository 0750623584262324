#include "core/base/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <thread>

#include "absl/strings/str_cat.h"

namespace sluice {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;

TEST(MetricsTest, FamiliesHaveHelpTypeAndTheirSamplesTogether) {
  Metrics m;
  m.CounterOf("b_total", "Second.", {{"code", "OK"}}).Add(3);
  m.GaugeOf("a", "First.").Set(-7);
  m.CounterOf("b_total", "Second.", {{"code", "ABORTED"}}).Add();
  m.CounterOf("b_total", "Second.", {{"code", "OK"}}).Add();
  m.OnCollect([](MetricsText& out) {
    out.Family("c", "gauge", "Asked for.");
    out.Sample({{"x", "1"}, {"y", "2"}}, 0.5);
  });
  EXPECT_EQ(m.Text(),
            "# HELP a First.\n# TYPE a gauge\na -7\n"
            "# HELP b_total Second.\n# TYPE b_total counter\nb_total{code=\"ABORTED\"} 1\nb_total{code=\"OK\"} 4\n"
            "# HELP c Asked for.\n# TYPE c gauge\nc{x=\"1\",y=\"2\"} 0.5\n");
}

TEST(MetricsTest, HistogramsCountFromBelow) {
  Metrics m;
  Histogram& h = m.HistogramOf("h", "Times.", {{"k", "v"}}, {0.1, 1});
  for (double v : {0.05, 0.1, 0.5, 1.0, 7.0}) h.Observe(v);
  EXPECT_THAT(m.Text(),
              EndsWith("h_bucket{k=\"v\",le=\"0.1\"} 2\nh_bucket{k=\"v\",le=\"1\"} 4\n"
                       "h_bucket{k=\"v\",le=\"+Inf\"} 5\nh_sum{k=\"v\"} 8.6500000000000004\nh_count{k=\"v\"} 5\n"));
}

TEST(MetricsTest, TextIsEscapedAndNumbersAreWhatPrometheusReads) {
  Metrics m;
  m.GaugeOf("g", "back\\slash\nand \"quotes\"", {{"l", "a\"b\\c\nd"}}).Set(1);
  m.OnCollect([](MetricsText& out) {
    out.Family("n", "gauge", "");
    for (double v : {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(), std::nan("")}) {
      out.Sample({}, v);
    }
    out.Sample({}, 1e300);
    out.Sample({}, 9007199254740991.0);
  });
  EXPECT_THAT(m.Text(), AllOf(HasSubstr("# HELP g back\\\\slash\\nand \"quotes\"\n"),
                              HasSubstr("g{l=\"a\\\"b\\\\c\\nd\"} 1\n"), HasSubstr("n +Inf\nn -Inf\nn NaN\n"),
                              HasSubstr("n 1.0000000000000001e+300\nn 9007199254740991\n")));
}

TEST(MetricsTest, NamesFromOutsideCannotFillTheMemory) {
  Metrics m;
  for (int i = 0; i < 5000; ++i) m.CounterOf("c_total", "Calls.", {{"method", absl::StrCat("m", i)}}).Add();
  const std::string text = m.Text();
  EXPECT_LE(std::count(text.begin(), text.end(), '\n'), static_cast<int>(Metrics::kMaxSeries) + 3);
  EXPECT_THAT(text, HasSubstr(absl::StrCat("c_total{method=\"other\"} ", 5000 - Metrics::kMaxSeries, "\n")));
}

TEST(MetricsTest, NothingIsLostBetweenThreads) {
  Metrics m;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&m] {
      Counter& c = m.CounterOf("c_total", "");
      Histogram& h = m.HistogramOf("h", "", {}, SecondsBuckets());
      for (int i = 0; i < 10000; ++i) {
        c.Add();
        h.Observe(1);
      }
    });
  }
  for (int i = 0; i < 20; ++i) m.Text();
  for (auto& t : threads) t.join();
  EXPECT_THAT(m.Text(), AllOf(HasSubstr("c_total 40000\n"), HasSubstr("h_sum 40000\nh_count 40000\n")));
}

TEST(MetricsTest, TheProcessTellsOfItself) {
  EXPECT_THAT(ProcessMetrics().Text(),
              AllOf(HasSubstr("process_cpu_seconds_total "), HasSubstr("process_resident_memory_bytes "),
                    HasSubstr("process_open_fds ")));
}

}  // namespace
}  // namespace sluice
