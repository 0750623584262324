// Summaries of images (as PNG) and sounds (as 16-bit WAV).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#include "core/base/status.h"
#include "core/io/coding.h"
#include "core/proto/summary.pb.h"
#include "core/types/numeric_types.h"
#include "kernels/data/data_kernels.h"
#include "kernels/data/inputs.h"
#include "kernels/data/png_codec.h"

namespace sluice {
namespace {

// "tag/image" when there is at most one, else "tag/image/0" and so on.
std::string Numbered(const std::string& tag, absl::string_view kind, int64_t most, int64_t i) {
  return most == 1 ? absl::StrCat(tag, "/", kind) : absl::StrCat(tag, "/", kind, "/", i);
}

absl::Status SetSummary(const proto::Summary& summary, KernelContext& c) {
  ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, Shape()));
  if (!summary.SerializeToString(&out->scalar<std::string>()))
    return InvalidArgument("the summary is too large for a message");
  return absl::OkStatus();
}

// Stretches the finite values of one image to 0..255: from 0, or around 128 when some are negative. A pixel with a
// value that is not finite gets the bad color.
template <typename T>
void Stretch(absl::Span<const T> from, int64_t depth, absl::Span<const uint8_t> bad_color, uint8_t* to) {
  float least = INFINITY, most = -INFINITY;
  for (const T& value : from) {
    const float v = static_cast<float>(value);
    if (!std::isfinite(v)) continue;
    least = std::min(least, v);
    most = std::max(most, v);
  }
  constexpr float kNearlyZero = 1e-6f;
  const float reach = least < 0 ? std::max(-least, most) : most;
  const float offset = least < 0 ? 128.0f : 0.0f;
  const float scale = !(reach >= kNearlyZero) ? 0.0f : (least < 0 ? 127.0f : 255.0f) / reach;
  for (size_t pixel = 0; pixel < from.size(); pixel += depth) {
    const bool finite = std::all_of(from.begin() + pixel, from.begin() + pixel + depth,
                                    [](const T& v) { return std::isfinite(static_cast<float>(v)); });
    for (int64_t d = 0; d < depth; ++d) {
      to[pixel + d] =
          finite ? static_cast<uint8_t>(static_cast<float>(from[pixel + d]) * scale + offset) : bad_color[d];
    }
  }
}

class ImageSummaryKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(most_, p.Attr<int64_t>("max_images"));
    ASSIGN_OR_RETURN(bad_color_, p.Attr<Tensor>("bad_color"));
    if (bad_color_.dtype() != DType::kUint8) {
      return InvalidArgument("bad_color must be uint8, found ", DTypeName(bad_color_.dtype()));
    }
    if (bad_color_.rank() != 1)
      return InvalidArgument("bad_color must be a vector, got shape ", bad_color_.shape().ToString());
    return absl::OkStatus();
  }

  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const std::string tag, StringInput(c, 0, "tag"));
    const Tensor& images = c.input(1);
    const int64_t depth = images.rank() == 4 ? images.dim(3) : 0;
    if (depth != 1 && depth != 3 && depth != 4) {
      return InvalidArgument("Tensor must be 4-D with last dim 1, 3, or 4, not ", images.shape().ToString());
    }
    if (bad_color_.num_elements() < depth) {
      return InvalidArgument("expected depth <= bad_color.size, got depth = ", depth,
                             ", bad_color.size = ", bad_color_.num_elements());
    }
    proto::Summary summary;
    for (int64_t i = 0; i < std::min(most_, images.dim(0)); ++i) {
      Tensor image = images.SliceRows(i, i + 1).WithShape(Shape({images.dim(1), images.dim(2), depth}));
      if (image.dtype() != DType::kUint8) {
        ASSIGN_OR_RETURN(Tensor bytes, Tensor::Make(DType::kUint8, image.shape()));
        const absl::Span<const uint8_t> bad = bad_color_.flat<uint8_t>();
        if (image.dtype() == DType::kFloat) {
          Stretch<float>(image.flat<float>(), depth, bad, bytes.data<uint8_t>());
        } else if (image.dtype() == DType::kHalf) {
          Stretch<half>(image.flat<half>(), depth, bad, bytes.data<uint8_t>());
        } else {
          Stretch<double>(image.flat<double>(), depth, bad, bytes.data<uint8_t>());
        }
        image = std::move(bytes);
      }
      ASSIGN_OR_RETURN(std::string png, EncodePng(image));
      auto* value = summary.add_value();
      value->set_tag(Numbered(tag, "image", most_, i));
      value->mutable_image()->set_height(static_cast<int32_t>(image.dim(0)));
      value->mutable_image()->set_width(static_cast<int32_t>(image.dim(1)));
      value->mutable_image()->set_colorspace(static_cast<int32_t>(depth));
      value->mutable_image()->set_encoded_image_string(std::move(png));
    }
    return SetSummary(summary, c);
  }

 private:
  int64_t most_ = 3;
  Tensor bad_color_;
};

void PutFixed16(std::string* to, uint32_t v) {
  to->push_back(static_cast<char>(v));
  to->push_back(static_cast<char>(v >> 8));
}

std::string EncodeWav(const float* samples, uint32_t rate, uint32_t channels, uint32_t frames) {
  constexpr uint32_t kBytes = 2, kHeader = 36;
  const uint32_t size = frames * channels * kBytes;
  std::string wav = "RIFF";
  PutFixed32(&wav, size + kHeader);
  wav += "WAVEfmt ";
  PutFixed32(&wav, 16);  // of the format's fields
  PutFixed16(&wav, 1);   // PCM
  PutFixed16(&wav, channels);
  PutFixed32(&wav, rate);
  PutFixed32(&wav, rate * channels * kBytes);
  PutFixed16(&wav, channels * kBytes);
  PutFixed16(&wav, 8 * kBytes);
  wav += "data";
  PutFixed32(&wav, size);
  for (uint32_t i = 0; i < frames * channels; ++i) {
    const float scaled = std::isnan(samples[i]) ? 0.0f : std::round(samples[i] * 32768.0f);
    PutFixed16(&wav, static_cast<uint32_t>(static_cast<int32_t>(std::min(32767.0f, std::max(-32768.0f, scaled)))));
  }
  return wav;
}

class AudioSummaryKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(most_, p.Attr<int64_t>("max_outputs"));
    if (p.num_inputs() == 2) {
      ASSIGN_OR_RETURN(rate_, p.Attr<float>("sample_rate"));
    }
    return absl::OkStatus();
  }

  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const std::string tag, StringInput(c, 0, "tag"));
    const Tensor& sounds = c.input(1);
    if (sounds.rank() != 2 && sounds.rank() != 3) {
      return InvalidArgument("Tensor must be 3-D or 2-D, got: ", sounds.shape().ToString());
    }
    if (c.num_inputs() > 2 && c.input(2).num_elements() != 1) return InvalidArgument("sample_rate must be a scalar");
    const float rate = c.num_inputs() > 2 ? *c.input(2).data<float>() : rate_;
    const int64_t frames = sounds.dim(1), channels = sounds.rank() == 2 ? 1 : sounds.dim(2);
    if (!(rate > 0) || rate > 1e9f) return InvalidArgument("sample_rate must be above 0, found ", rate);
    if (channels < 1 || channels > 0xffff || frames * channels > (int64_t{1} << 30)) {
      return InvalidArgument("a sound has 1 to 65535 channels and at most 2^30 values, found ",
                             sounds.shape().ToString());
    }
    proto::Summary summary;
    for (int64_t i = 0; i < std::min(most_, sounds.dim(0)); ++i) {
      auto* value = summary.add_value();
      value->set_tag(Numbered(tag, "audio", most_, i));
      auto* audio = value->mutable_audio();
      audio->set_sample_rate(rate);
      audio->set_num_channels(channels);
      audio->set_length_frames(frames);
      audio->set_content_type("audio/wav");
      audio->set_encoded_audio_string(EncodeWav(sounds.data<float>() + i * frames * channels,
                                                static_cast<uint32_t>(rate), static_cast<uint32_t>(channels),
                                                static_cast<uint32_t>(frames)));
    }
    return SetSummary(summary, c);
  }

 private:
  int64_t most_ = 3;
  float rate_ = 0;
};

}  // namespace

void AddMediaSummaryKernels(KernelRegistry& k) {
  k.Add(
      "ImageSummary", kCpu,
      KernelDef().Types("T", {DType::kUint8, DType::kFloat, DType::kHalf, DType::kDouble}).Make<ImageSummaryKernel>());
  k.Add("AudioSummary", kCpu, KernelDef().Make<AudioSummaryKernel>());
  k.Add("AudioSummaryV2", kCpu, KernelDef().Make<AudioSummaryKernel>());
}

}  // namespace sluice
