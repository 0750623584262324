// Counts values into buckets whose edges grow by a tenth, for histograms of summaries.
#ifndef SLUICE_KERNELS_DATA_HISTOGRAM_H_
#define SLUICE_KERNELS_DATA_HISTOGRAM_H_

#include <vector>

namespace sluice {

namespace proto {
class HistogramProto;
}

class Histogram {
 public:
  Histogram();
  // REQUIRES: finite.
  void Add(double value);
  // Neighbouring empty buckets become one.
  void ToProto(proto::HistogramProto* message) const;

 private:
  double min_, max_;
  double num_ = 0, sum_ = 0, sum_squares_ = 0;
  std::vector<double> counts_;
};

}  // namespace sluice

#endif  // SLUICE_KERNELS_DATA_HISTOGRAM_H_
