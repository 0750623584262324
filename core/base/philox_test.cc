#include "core/base/philox.h"

#include "gtest/gtest.h"

namespace sluice {
namespace {

// The known answers that Random123 publishes for philox4x32 with 10 rounds.
TEST(PhiloxTest, KnownAnswers) {
  EXPECT_EQ(Philox4x32(0).Next(), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  Philox4x32 ones(~uint64_t{0}, ~uint64_t{0});
  ones.Skip(~uint64_t{0});
  EXPECT_EQ(ones.Next(), (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(PhiloxTest, SkipGoesWhereDrawingGoes) {
  Philox4x32 a(7, 9), b(7, 9);
  for (int i = 0; i < 5; ++i) a.Next();
  b.Skip(5);
  EXPECT_EQ(a.Next(), b.Next());
}

}  // namespace
}  // namespace sluice
