#include "tests/distributed/message_mutator.h"

#include <google/protobuf/descriptor.h>

#include <limits>
#include <utility>

#include "core/proto/tensor.pb.h"

namespace sluice {

using google::protobuf::FieldDescriptor;
using google::protobuf::Reflection;

MessageMutator::MessageMutator(uint64_t seed, std::vector<std::string> words)
    : random_(seed), words_(std::move(words)) {}

std::string MessageMutator::Text() {
  const uint32_t kind = Below(6);
  if (kind < 3 && !words_.empty()) return words_[Below(static_cast<uint32_t>(words_.size()))];
  if (kind == 3) return "";
  std::string text(kind == 4 ? Below(20) : Below(5000), 'x');
  for (char& c : text) c = static_cast<char>(random_());
  return text;
}

int64_t MessageMutator::Number() {
  constexpr int64_t kEdges[] = {0,
                                1,
                                -1,
                                2,
                                255,
                                65536,
                                std::numeric_limits<int32_t>::max(),
                                std::numeric_limits<int32_t>::min(),
                                std::numeric_limits<int64_t>::max(),
                                std::numeric_limits<int64_t>::min()};
  const uint32_t kind = Below(12);
  if (kind < 10) return kEdges[kind];
  return static_cast<int64_t>(random_() >> Below(64));
}

void MessageMutator::Bytes(std::string* bytes) {
  for (uint32_t n = 1 + Below(4); n > 0; --n) {
    if (bytes->empty()) bytes->push_back(static_cast<char>(random_()));
    const size_t at = Below(static_cast<uint32_t>(bytes->size()));
    const size_t some = std::min<size_t>(bytes->size() - at, 1 + Below(16));
    switch (Below(6)) {
      case 0:
        (*bytes)[at] = static_cast<char>((*bytes)[at] ^ (1 << Below(8)));
        break;
      case 1:
        (*bytes)[at] = static_cast<char>(random_());
        break;
      case 2:
        bytes->resize(at);
        break;
      case 3:
        bytes->erase(at, some);
        break;
      case 4:
        bytes->insert(at, bytes->substr(at, some));
        break;
      default:
        bytes->insert(at, std::string(some, static_cast<char>(random_())));
    }
  }
}

void MessageMutator::Fields(google::protobuf::Message* message) {
  for (uint32_t n = 1 + Below(3); n > 0; --n) Field(message);
}

void MessageMutator::Field(google::protobuf::Message* message) {
  const auto* type = message->GetDescriptor();
  const Reflection* r = message->GetReflection();
  if (type->field_count() == 0) return;
  const FieldDescriptor* f = type->field(static_cast<int>(Below(static_cast<uint32_t>(type->field_count()))));
  // Deeper, when there is something to go down into.
  if (f->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && Below(8) != 0) {
    if (f->is_repeated()) {
      const int size = r->FieldSize(*message, f);
      if (size > 0)
        return Field(r->MutableRepeatedMessage(message, f, static_cast<int>(Below(static_cast<uint32_t>(size)))));
      return;
    }
    return Field(r->MutableMessage(message, f));
  }
  const bool repeated = f->is_repeated();
  if (Below(6) == 0) return r->ClearField(message, f);
  if (repeated && r->FieldSize(*message, f) > 0 && Below(4) == 0) return r->RemoveLast(message, f);
  if (repeated && r->FieldSize(*message, f) > 1 && Below(4) == 0)
    return r->SwapElements(message, f, 0, r->FieldSize(*message, f) - 1);
  switch (f->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return repeated ? r->AddString(message, f, Text()) : r->SetString(message, f, Text());
    case FieldDescriptor::CPPTYPE_INT32:
      return repeated ? r->AddInt32(message, f, static_cast<int32_t>(Number()))
                      : r->SetInt32(message, f, static_cast<int32_t>(Number()));
    case FieldDescriptor::CPPTYPE_INT64:
      return repeated ? r->AddInt64(message, f, Number()) : r->SetInt64(message, f, Number());
    case FieldDescriptor::CPPTYPE_UINT32:
      return repeated ? r->AddUInt32(message, f, static_cast<uint32_t>(Number()))
                      : r->SetUInt32(message, f, static_cast<uint32_t>(Number()));
    case FieldDescriptor::CPPTYPE_UINT64:
      return repeated ? r->AddUInt64(message, f, static_cast<uint64_t>(Number()))
                      : r->SetUInt64(message, f, static_cast<uint64_t>(Number()));
    case FieldDescriptor::CPPTYPE_BOOL:
      return repeated ? r->AddBool(message, f, Below(2) == 0) : r->SetBool(message, f, Below(2) == 0);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return repeated ? r->AddFloat(message, f, static_cast<float>(Number()))
                      : r->SetFloat(message, f, static_cast<float>(Number()));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return repeated ? r->AddDouble(message, f, static_cast<double>(Number()))
                      : r->SetDouble(message, f, static_cast<double>(Number()));
    case FieldDescriptor::CPPTYPE_ENUM: {
      const int value = static_cast<int>(Number() % 200);
      return repeated ? r->AddEnumValue(message, f, value) : r->SetEnumValue(message, f, value);
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      if (repeated) {
        if (r->FieldSize(*message, f) > 0 && Below(2) == 0) {  // once more
          const int from = static_cast<int>(Below(static_cast<uint32_t>(r->FieldSize(*message, f))));
          auto* added = r->AddMessage(message, f);
          added->CopyFrom(r->GetRepeatedMessage(*message, f, from));
        } else {
          r->AddMessage(message, f);
        }
      } else {
        r->ClearField(message, f);
      }
  }
}

Tensor MessageMutator::AnyTensor() {
  switch (Below(7)) {
    case 0:
      return Tensor();
    case 1:
      return Tensor::Scalar<float>(static_cast<float>(Number()));
    case 2:
      return Tensor::Scalar<int64_t>(Number());
    case 3:
      return Tensor::Vector<int32_t>({1, 2, 3});
    case 4:
      return Tensor::Vector<uint8_t>({});
    case 5:
      return *Tensor::Make(DType::kString, Shape({2, Below(3)}));
    default: {
      Tensor large = *Tensor::Make(DType::kDouble, Shape({1 + Below(3), 0x1000}));
      std::memset(large.raw_data(), static_cast<int>(Below(256)), large.num_bytes());
      return large;
    }
  }
}

std::string MessageMutator::ImpossibleTensor() {
  proto::TensorProto t;
  t.set_dtype(static_cast<proto::DataType>(Below(4) == 0 ? Number() % 130 : 1 + Below(23)));
  for (uint32_t d = Below(5); d > 0; --d) t.mutable_tensor_shape()->add_dim()->set_size(Number());
  if (Below(4) == 0) t.mutable_tensor_shape()->set_unknown_rank(true);
  if (Below(2) == 0) t.set_tensor_content(std::string(Below(100), 'x'));
  if (Below(3) == 0) t.add_float_val(1);
  if (Below(3) == 0) t.add_string_val("text");
  if (Below(3) == 0) t.add_int_val(static_cast<int32_t>(Number()));
  std::string bytes = t.SerializeAsString();
  std::string out = {'\xa2', '\x06'};  // field 100, with a length
  for (size_t size = bytes.size();; size >>= 7) {
    out.push_back(static_cast<char>(size >= 0x80 ? size | 0x80 : size));
    if (size < 0x80) break;
  }
  return out + bytes;
}

}  // namespace sluice
