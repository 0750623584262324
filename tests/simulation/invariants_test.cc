// Each rule turns red for a history that breaks it, and stays green for one that does not.
#include "tests/simulation/invariants.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace sluice::simulation {
namespace {

// The rules that a history breaks: "I1 I4". Lines follow each other by a second, those that begin with "later" by an
// hour.
std::string Broken(absl::string_view text) {
  std::vector<Event> events;
  int64_t at = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipWhitespace())) {
    line = absl::StripLeadingAsciiWhitespace(line);
    at += absl::ConsumePrefix(&line, "later ") ? 3600 : 1;
    auto event = ParseEvent(absl::StrCat(at, ".000000000 ", line));
    EXPECT_TRUE(event.ok()) << event.status();
    if (event.ok()) events.push_back(*event);
  }
  std::vector<std::string> rules;
  for (const std::string& b : CheckHistory(events)) rules.push_back(b.substr(0, 2));
  return absl::StrJoin(rules, " ");
}

// A session s of epoch 1 on a task that counts steps, and one good step.
constexpr char kBegun[] = R"(
    chief 1 epoch lineage=f epoch=1
    ps 1 start
    ps 1 arrive call=1 method=CreateWorkerSession session=a lineage=f epoch=1
    ps 1 answer call=1 method=CreateWorkerSession session=a lineage=f epoch=1
    ps 1 arrive call=2 method=RegisterGraph session=a updates=global_step,w
    ps 1 answer call=2 method=RegisterGraph session=a graph=g
    chief 1 restore lineage=f epoch=1
    ps 1 arrive call=3 method=RunGraph session=a graph=g step=10
    ps 1 answer call=3 method=RunGraph session=a graph=g step=10
)";

std::string After(absl::string_view more) { return Broken(absl::StrCat(kBegun, more)); }

TEST(InvariantsTest, AGoodHistoryBreaksNothing) {
  EXPECT_EQ(After(R"(
    chief 1 committing lineage=f epoch=1 step=1
    chief 1 commit lineage=f epoch=1 step=1
    chief 2 epoch lineage=f epoch=2
    chief 2 restore lineage=f epoch=2 step=1
    ps 1 arrive call=4 method=DeleteWorkerSession session=a
    ps 1 answer call=4 method=DeleteWorkerSession session=a
    ps 1 state
  )"),
            "");
}

TEST(InvariantsTest, I1AStepThatRunsTwiceOrAnUpdateThatIsMissing) {
  const char* const twice = R"(
    ps 1 arrive call=4 method=RunGraph session=a graph=g step=10
    ps 1 answer call=4 method=RunGraph session=a graph=g step=10
  )";
  EXPECT_EQ(After(twice), "I1");
  EXPECT_EQ(After("chief 1 committing lineage=f epoch=1 step=2\nchief 1 commit lineage=f epoch=1 step=2"), "I1 I1");
  // A step whose answer nobody knows may be the missing one.
  EXPECT_EQ(After(R"(
    ps 1 arrive call=4 method=RunGraph session=a graph=g step=11
    chief 1 committing lineage=f epoch=1 step=2
    chief 1 commit lineage=f epoch=1 step=2
  )"),
            "");
}

TEST(InvariantsTest, I2AnOlderEpochIsServed) {
  EXPECT_EQ(After(R"(
    ps 1 arrive call=4 method=CreateWorkerSession session=b lineage=f epoch=2
    ps 1 answer call=4 method=CreateWorkerSession session=b lineage=f epoch=2
    ps 1 arrive call=5 method=RunGraph session=a graph=g step=11
    ps 1 answer call=5 method=RunGraph session=a graph=g step=11 code=10
  )"),
            "");
  EXPECT_EQ(After(R"(
    ps 1 arrive call=4 method=CreateWorkerSession session=b lineage=f epoch=2
    ps 1 answer call=4 method=CreateWorkerSession session=b lineage=f epoch=2
    ps 1 arrive call=5 method=RunGraph session=a graph=g step=11
    ps 1 answer call=5 method=RunGraph session=a graph=g step=11
  )"),
            "I2");
  EXPECT_EQ(After("chief 2 epoch lineage=f epoch=1"), "I2");
}

TEST(InvariantsTest, I3AStepIsRestoredThatNobodyCommitted) {
  EXPECT_EQ(After("chief 1 restore lineage=f epoch=1 step=7"), "I3");
}

TEST(InvariantsTest, I4AnOldEpochCommitsOrStepsGoBack) {
  const char* const first = "chief 1 committing lineage=f epoch=1 step=1\nchief 1 commit lineage=f epoch=1 step=1\n";
  EXPECT_EQ(After(absl::StrCat("chief 2 epoch lineage=f epoch=2\n", first)), "I4");
  EXPECT_EQ(After(absl::StrCat(first, "chief 1 committing lineage=f epoch=1\nchief 1 commit lineage=f epoch=1")),
            "I4 I1 I1");
}

TEST(InvariantsTest, I5ACallIsNotAnswered) {
  EXPECT_EQ(After("ps 1 arrive call=4 method=RunGraph session=a graph=g step=11\nps 1 state"), "I5");
  EXPECT_EQ(After("ps 1 arrive call=4 method=RunGraph session=a graph=g step=11\nps 2 start\nps 2 state"),
            "");  // it died
  const std::string arrival = "ps 1 arrive call=4 method=RunStep session=a limit_ms=1000\n";
  const std::string late = "later ps 1 answer call=4 method=RunStep session=a";
  EXPECT_EQ(After(arrival + late), "I5");
  EXPECT_EQ(After("ps 1 fault text=pause\n" + arrival + late), "");  // it stood still
}

TEST(InvariantsTest, I6AnAbortedStepGoesOn) {
  const char* const aborted = R"(
    ps 1 arrive call=4 method=CleanupGraph step=11 text=aborted
    ps 1 answer call=4 method=CleanupGraph step=11 text=aborted
    ps 1 arrive call=5 method=RecvTensor step=11
  )";
  EXPECT_EQ(After(absl::StrCat(aborted, "ps 1 answer call=5 method=RecvTensor step=11")), "I6");
  EXPECT_EQ(After(absl::StrCat(aborted, "ps 1 answer call=5 method=RecvTensor step=11 code=10")), "");
}

TEST(InvariantsTest, I7AnAcknowledgedCheckpointIsGone) {
  const char* const committed =
      "chief 1 committing lineage=f epoch=1 step=1\nchief 1 commit lineage=f epoch=1 step=1\n";
  EXPECT_EQ(After(absl::StrCat(committed, "chief 2 restore lineage=f epoch=2")), "I7");
  EXPECT_EQ(After(absl::StrCat(committed, "disk 1 lost lineage=f step=1\nchief 2 restore lineage=f epoch=2")), "");
}

TEST(InvariantsTest, I8SomethingIsLeft) {
  EXPECT_EQ(After("ps 1 state text=1%20session"), "I8");
  EXPECT_EQ(After("ps 1 state"), "");
}

}  // namespace
}  // namespace sluice::simulation
