// Changes messages at random: fields by their types, bytes, tensors. The same seed changes them in the same way.
#ifndef SLUICE_TESTS_DISTRIBUTED_MESSAGE_MUTATOR_H_
#define SLUICE_TESTS_DISTRIBUTED_MESSAGE_MUTATOR_H_

#include <google/protobuf/message.h>

#include <random>
#include <string>
#include <vector>

#include "core/types/tensor.h"

namespace sluice {

class MessageMutator {
 public:
  // `words`: texts that mean something to the receiver (handles, keys, device names).
  MessageMutator(uint64_t seed, std::vector<std::string> words);

  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }
  // Flips, cuts, repeats and inserts bytes, a few times.
  void Bytes(std::string* bytes);
  // Changes a field somewhere in it, a few times.
  void Fields(google::protobuf::Message* message);
  // Any type and shape, or no value at all.
  Tensor AnyTensor();
  // The wire form of a tensor (field 100) that cannot be, or is enormous.
  std::string ImpossibleTensor();

 private:
  std::string Text();
  int64_t Number();
  void Field(google::protobuf::Message* message);

  std::mt19937_64 random_;
  const std::vector<std::string> words_;
};

}  // namespace sluice

#endif  // SLUICE_TESTS_DISTRIBUTED_MESSAGE_MUTATOR_H_
