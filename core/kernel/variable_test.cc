#include "core/kernel/variable.h"

#include <thread>

#include "gtest/gtest.h"

namespace sluice {
namespace {

Tensor Floats(std::initializer_list<float> v) {
  return Tensor::Vector<float>(absl::Span<const float>(v.begin(), v.size()));
}

TEST(VariableTest, ReadBeforeAssignNamesTheVariable) {
  auto v = MakeRef<Variable>("layer/w", DType::kFloat, PartialShape({2}));
  EXPECT_FALSE(v->IsInitialized());
  EXPECT_EQ(v->Read().status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(v->Read().status().message().find("layer/w"), std::string::npos);
}

TEST(VariableTest, ReaderKeepsTheValueItRead) {
  auto v = MakeRef<Variable>("w", DType::kFloat, PartialShape({2}));
  ASSERT_TRUE(v->Assign(Floats({1, 2})).ok());
  Tensor before = v->Read().value();
  EXPECT_EQ(before.raw_data(), v->Read()->raw_data());
  {
    VariableLocks lock({v.get(), v.get()});
    Tensor* value = v->MutableValue().value();
    EXPECT_NE(value->raw_data(), before.raw_data());
    value->data<float>()[0] = 7;
  }
  EXPECT_EQ(before.data<float>()[0], 1);
  EXPECT_EQ(v->Read()->data<float>()[0], 7);
}

TEST(VariableTest, ValueThatNobodyElseHoldsIsWrittenInPlace) {
  auto v = MakeRef<Variable>("w", DType::kFloat, PartialShape({2}));
  ASSERT_TRUE(v->Assign(Floats({1, 2})).ok());
  const void* bytes = v->Read()->raw_data();
  VariableLocks lock({v.get()});
  EXPECT_EQ(v->MutableValue().value()->raw_data(), bytes);
  EXPECT_EQ(v->Target()->raw_data(), bytes);
}

TEST(VariableTest, AssignmentOfAnotherTypeIsRefused) {
  auto v = MakeRef<Variable>("w", DType::kFloat, PartialShape());
  EXPECT_EQ(v->Assign(Tensor::Scalar<int32_t>(1)).code(), absl::StatusCode::kInvalidArgument);
}

TEST(VariableTest, LocksInAnyOrderDoNotDeadlock) {
  auto a = MakeRef<Variable>("a", DType::kFloat, PartialShape());
  auto b = MakeRef<Variable>("b", DType::kFloat, PartialShape());
  ASSERT_TRUE(a->Assign(Tensor::Scalar<float>(0)).ok());
  ASSERT_TRUE(b->Assign(Tensor::Scalar<float>(0)).ok());
  auto work = [&](Variable* first, Variable* second) {
    for (int i = 0; i < 1000; ++i) {
      VariableLocks lock({first, second});
      first->MutableValue().value()->scalar<float>() += 1;
      second->MutableValue().value()->scalar<float>() += 1;
    }
  };
  std::thread other(work, a.get(), b.get());
  work(b.get(), a.get());
  other.join();
  EXPECT_EQ(a->Read()->scalar<float>(), 2000);
  EXPECT_EQ(b->Read()->scalar<float>(), 2000);
}

TEST(VariableTest, HandleOfSomethingElseIsRefused) {
  ResourceStore store;
  EXPECT_EQ(FindVariable(Tensor::Scalar<float>(1), store).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace sluice
