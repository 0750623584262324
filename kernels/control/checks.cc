// Assert, Print, CheckNumerics and the like.
#include <atomic>
#include <cmath>
#include <cstdio>

#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "core/base/status.h"
#include "kernels/common/type_dispatch.h"
#include "kernels/control/control_kernels.h"

namespace sluice {
namespace {

// "[1 2 3...]" as TensorFlow prints it, without type and shape.
std::string Summary(const Tensor& t, int64_t limit) {
  if (limit < 0) limit = t.num_elements();
  std::string text = t.ToString(static_cast<int>(std::min<int64_t>(limit, INT32_MAX)));
  // "float [2] 1 2 ..." without its head.
  size_t bracket = text.find(']');
  absl::string_view elements = absl::string_view(text).substr(bracket + 1);
  absl::ConsumePrefix(&elements, " ");
  return absl::StrCat("[", elements, "]");
}

class AssertKernel final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(summarize_, p.Attr<int64_t>("summarize"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    if (c.input(0).rank() != 0)
      return InvalidArgument("condition must be a scalar, found shape ", c.input(0).shape().ToString());
    if (c.input(0).scalar<bool>()) return absl::OkStatus();
    std::string message = "assertion failed:";
    for (int i = 1; i < c.num_inputs(); ++i) absl::StrAppend(&message, " ", Summary(c.input(i), summarize_));
    return absl::InvalidArgumentError(message);
  }

 private:
  int64_t summarize_ = 3;
};

class PrintKernel final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(message_, p.Attr<std::string>("message"));
    ASSIGN_OR_RETURN(first_n_, p.Attr<int64_t>("first_n"));
    ASSIGN_OR_RETURN(summarize_, p.Attr<int64_t>("summarize"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    c.SetOutput(0, c.input(0));
    if (first_n_ >= 0 && count_.fetch_add(1, std::memory_order_relaxed) >= first_n_) return absl::OkStatus();
    std::string line = message_;
    for (int i = 1; i < c.num_inputs(); ++i) line += Summary(c.input(i), summarize_);
    std::fprintf(stderr, "%s\n", line.c_str());
    return absl::OkStatus();
  }

 private:
  std::string message_;
  int64_t first_n_ = -1, summarize_ = 3;
  mutable std::atomic<int64_t> count_{0};
};

class PrintV2Kernel final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(stream_, p.Attr<std::string>("output_stream"));
    ASSIGN_OR_RETURN(end_, p.Attr<std::string>("end"));
    absl::string_view path = stream_;
    if (stream_ != "stdout" && stream_ != "stderr" && stream_.rfind("log(", 0) != 0 &&
        !absl::ConsumePrefix(&path, "file://")) {
      return InvalidArgument("output_stream is 'stdout', 'stderr', 'log(info)' or 'file://PATH', found '", stream_,
                             "'");
    }
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    if (c.input(0).rank() != 0)
      return InvalidArgument("input must be a scalar, found shape ", c.input(0).shape().ToString());
    std::string text = c.input(0).scalar<std::string>() + end_;
    absl::string_view path = stream_;
    if (!absl::ConsumePrefix(&path, "file://")) {
      std::FILE* f = stream_ == "stdout" ? stdout : stderr;
      std::fwrite(text.data(), 1, text.size(), f);
      std::fflush(f);
      return absl::OkStatus();
    }
    std::FILE* f = std::fopen(std::string(path).c_str(), "a");
    if (f == nullptr) return NotFound("cannot open '", path, "' for appending");
    size_t written = std::fwrite(text.data(), 1, text.size(), f);
    if (std::fclose(f) != 0 || written != text.size()) return DataLoss("cannot write to '", path, "'");
    return absl::OkStatus();
  }

 private:
  std::string stream_, end_;
};

class CheckNumericsKernel final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(message_, p.Attr<std::string>("message"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    bool nan = false, infinite = false;
    const Tensor& x = c.input(0);
    Dispatch<kFloatingTypes.bits()>(x.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      for (T v : x.flat<T>()) {
        nan |= std::isnan(static_cast<double>(v));
        infinite |= std::isinf(static_cast<double>(v));
      }
    });
    if (nan || infinite) {
      return InvalidArgument(message_, " : tensor had ",
                             nan && infinite ? "Inf and NaN"
                             : nan           ? "NaN"
                                             : "Inf",
                             " values");
    }
    c.SetOutput(0, x);
    return absl::OkStatus();
  }

 private:
  std::string message_;
};

class TimestampKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Shape()));
    out->scalar<double>() = static_cast<double>(absl::GetCurrentTimeNanos()) / 1e9;
    return absl::OkStatus();
  }
};

class AbortKernel final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(message_, p.Attr<std::string>("error_msg"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override { return absl::AbortedError(message_); }

 private:
  std::string message_;
};

}  // namespace

void AddCheckKernelsCpu(KernelRegistry& k) {
  k.Add("Assert", kCpu, KernelDef().Make<AssertKernel>());
  k.Add("Print", kCpu, KernelDef().Make<PrintKernel>());
  k.Add("PrintV2", kCpu, KernelDef().Make<PrintV2Kernel>());
  k.Add("CheckNumerics", kCpu, KernelDef().Make<CheckNumericsKernel>());
  k.Add("Timestamp", kCpu, KernelDef().Make<TimestampKernel>());
  k.Add("Abort", kCpu, KernelDef().Make<AbortKernel>());
}

}  // namespace sluice
