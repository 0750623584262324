#include "kernels/common/tuning.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <vector>

namespace sluice {
namespace {

std::string NewFolder(const std::string& name) {
  return ::testing::TempDir() + "/tuning_" + name + std::to_string(getpid());
}

void Put(const std::string& folder, const std::string& text) { std::ofstream(folder + "/tuning.txt") << text; }
std::string TextOf(const std::string& folder) {
  std::stringstream text;
  text << std::ifstream(folder + "/tuning.txt").rdbuf();
  return text.str();
}

using Choice = std::optional<std::string>;

TEST(TuningTest, ChoicesAreFoundByTheNextProcess) {
  const std::string folder = NewFolder("kept") + "/of/more/than/one";
  Tuning first(folder);
  EXPECT_EQ(first.Find("a"), std::nullopt);
  EXPECT_TRUE(first.CanKeep());
  EXPECT_EQ(first.Keep("a", "direct"), Choice("direct"));
  EXPECT_EQ(first.Keep("b", "library"), Choice("library"));
  EXPECT_EQ(first.Find("a"), Choice("direct"));
  Tuning second(folder);
  EXPECT_EQ(second.Find("a"), Choice("direct"));
  EXPECT_EQ(second.Find("b"), Choice("library"));
  EXPECT_EQ(TextOf(folder), "a direct\nb library\n");
}

TEST(TuningTest, TheFirstChoiceStands) {
  const std::string folder = NewFolder("first");
  Tuning one(folder), other(folder);
  EXPECT_EQ(other.Find("a"), std::nullopt);
  EXPECT_EQ(one.Keep("a", "direct"), Choice("direct"));
  EXPECT_EQ(other.Keep("a", "library"), Choice("direct"));
  EXPECT_EQ(other.Find("a"), Choice("direct"));
}

TEST(TuningTest, DamagedLinesArePassedOver) {
  const std::string folder = NewFolder("damaged");
  ASSERT_TRUE(Tuning(folder).CanKeep());
  Put(folder, std::string("a direct\nnothing\n\x01\x02 x\nb two words\n") + '\0' + "\n c d\ne library\nf cut off");
  Tuning tuning(folder);
  EXPECT_EQ(tuning.Find("a"), Choice("direct"));
  EXPECT_EQ(tuning.Find("b"), std::nullopt);
  EXPECT_EQ(tuning.Find("e"), Choice("library"));
  EXPECT_EQ(tuning.Find("f"), std::nullopt);
  EXPECT_EQ(tuning.Keep("b", "direct"), Choice("direct"));
  EXPECT_EQ(TextOf(folder), "a direct\nb direct\ne library\n");
}

TEST(TuningTest, AFolderThatCannotBeWrittenKeepsNothing) {
  for (const char* folder : {"", "/dev/null/sluice"}) {
    Tuning tuning(folder);
    EXPECT_FALSE(tuning.CanKeep());
    EXPECT_EQ(tuning.Keep("a", "direct"), std::nullopt);
    EXPECT_EQ(tuning.Find("a"), std::nullopt);
  }
}

TEST(TuningTest, WhatIsNotAWordIsNotKept) {
  Tuning tuning(NewFolder("words"));
  EXPECT_EQ(tuning.Keep("a key", "direct"), std::nullopt);
  EXPECT_EQ(tuning.Keep("a", "direct\nb library"), std::nullopt);
  EXPECT_EQ(tuning.Keep("", ""), std::nullopt);
}

TEST(TuningTest, ProcessesThatShareAFolderAgree) {
  const std::string folder = NewFolder("shared");
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      // Each has keys of its own, and one that all want otherwise.
      Tuning tuning(folder);
      bool ok = true;
      for (int k = 0; k < 10; ++k) {
        const std::string own = std::to_string(i) + "/" + std::to_string(k);
        ok = ok && tuning.Keep(own, "mine") == Choice("mine");
        const Choice stands = tuning.Keep("shared/" + std::to_string(k), std::to_string(i));
        ok = ok && stands.has_value() && Tuning(folder).Find("shared/" + std::to_string(k)) == stands;
      }
      _exit(ok ? 0 : 1);
    }
    children.push_back(child);
  }
  for (pid_t child : children) {
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  }
  const std::string text = TextOf(folder);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 50) << text;
}

TEST(TuningTest, TheMachineIsAWord) {
  const std::string machine = TuningMachine();
  EXPECT_EQ(Tuning(NewFolder("machine")).Keep(machine, "direct"), Choice("direct")) << machine;
}

}  // namespace
}  // namespace sluice
