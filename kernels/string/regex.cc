// Regular expressions, by RE2: linear time whatever the pattern.
#include <re2/re2.h>

#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/base/status.h"
#include "kernels/string/map.h"
#include "kernels/string/string_kernels.h"

namespace sluice {
namespace {

using Regex = std::shared_ptr<const RE2>;

absl::StatusOr<Regex> Compile(const std::string& pattern) {
  RE2::Options options;
  options.set_log_errors(false);
  Regex regex = std::make_shared<const RE2>(pattern, options);
  if (!regex->ok()) return InvalidArgument("Invalid pattern: ", pattern, ", error: ", regex->error());
  return regex;
}

absl::StatusOr<Mapper<std::string, std::string>> Replacing(Regex regex, std::string rewrite, bool global) {
  std::string error;
  if (!regex->CheckRewriteString(rewrite, &error))
    return InvalidArgument("Invalid rewrite: ", rewrite, ", error: ", error);
  return Mapper<std::string, std::string>([=](const std::string& in, std::string* out) {
    *out = in;
    if (global) {
      RE2::GlobalReplace(out, *regex, rewrite);
    } else {
      RE2::Replace(out, *regex, rewrite);
    }
    return absl::OkStatus();
  });
}

Mapper<std::string, bool> FullMatching(Regex regex) {
  return [regex](const std::string& in, bool* out) {
    *out = RE2::FullMatch(in, *regex);
    return absl::OkStatus();
  };
}

// The pattern is input 1: steps with the pattern of the step before need not compile it again.
class RegexKernel : public Kernel {
 protected:
  absl::StatusOr<Regex> Pattern(const KernelContext& c) const {
    const Tensor& pattern = c.input(1);
    if (pattern.num_elements() != 1)
      return InvalidArgument("pattern must be a scalar, found ", pattern.shape().ToString());
    absl::MutexLock lock(&mu_);
    if (last_ == nullptr || last_->pattern() != *pattern.data<std::string>()) {
      ASSIGN_OR_RETURN(last_, Compile(*pattern.data<std::string>()));
    }
    return last_;
  }

 private:
  mutable absl::Mutex mu_;
  mutable Regex last_ ABSL_GUARDED_BY(mu_);
};

class RegexReplaceKernel : public RegexKernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(global_, p.Attr<bool>("replace_global"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(Regex regex, Pattern(c));
    if (c.input(2).num_elements() != 1) {
      return InvalidArgument("rewrite must be a scalar, found ", c.input(2).shape().ToString());
    }
    ASSIGN_OR_RETURN(const auto map, Replacing(std::move(regex), *c.input(2).data<std::string>(), global_));
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, c.input(0).shape()));
    return RunMapper<std::string, std::string>(map, c.input(0), out, c);
  }

 private:
  bool global_ = true;
};

class RegexFullMatchKernel : public RegexKernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(Regex regex, Pattern(c));
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, c.input(0).shape()));
    return RunMapper<std::string, bool>(FullMatching(std::move(regex)), c.input(0), out, c);
  }
};

}  // namespace

void AddRegexKernels(KernelRegistry& k) {
  k.Add("RegexReplace", kCpu, KernelDef().Make<RegexReplaceKernel>());
  k.Add("RegexFullMatch", kCpu, KernelDef().Make<RegexFullMatchKernel>());
  k.Add(
      "StaticRegexReplace", kCpu,
      MapElements<std::string, std::string>([](PrepareContext& p) -> absl::StatusOr<Mapper<std::string, std::string>> {
        ASSIGN_OR_RETURN(const std::string pattern, p.Attr<std::string>("pattern"));
        ASSIGN_OR_RETURN(const std::string rewrite, p.Attr<std::string>("rewrite"));
        ASSIGN_OR_RETURN(const bool global, p.Attr<bool>("replace_global"));
        ASSIGN_OR_RETURN(Regex regex, Compile(pattern));
        return Replacing(std::move(regex), rewrite, global);
      }));
  k.Add("StaticRegexFullMatch", kCpu,
        MapElements<std::string, bool>([](PrepareContext& p) -> absl::StatusOr<Mapper<std::string, bool>> {
          ASSIGN_OR_RETURN(const std::string pattern, p.Attr<std::string>("pattern"));
          ASSIGN_OR_RETURN(Regex regex, Compile(pattern));
          return FullMatching(std::move(regex));
        }));
}

}  // namespace sluice
