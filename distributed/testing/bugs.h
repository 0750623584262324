// Deliberate bugs, to prove that the tests would find them: compiled in with -DSLUICE_BUGS alone (`--config=bugs`), and
// switched on one at a time by the test. An ordinary build has none of this.
//
//   if (Bug(kNoFence)) return done(absl::OkStatus());
#ifndef SLUICE_DISTRIBUTED_TESTING_BUGS_H_
#define SLUICE_DISTRIBUTED_TESTING_BUGS_H_

namespace sluice {

enum DeliberateBug {
  kNoBug = 0,
  kNoFence,            // a worker takes a session without ending its predecessors
  kOldEpochAccepted,   // a worker takes a session of an epoch that was replaced
  kDuplicateStepRuns,  // a master runs a request that came twice
  kDuplicatePartRuns,  // a worker runs its part of a step twice
  kEndedStepRuns,      // a worker forgets at once that a step has ended
  kStepsStay,          // a worker keeps steps that have ended
  kErrorSwallowed,     // a master takes a failed part for done
  kFirstAnswerEnough,  // a master takes a step for done when one task has answered
  kZeroForLost,        // a tensor that could not be fetched becomes zeros
  kSessionsStay,       // a worker never forgets a session that no master names
  kClientsForgotten,   // a master never closes the sessions of clients that are gone
  kResultsMixed,       // a master numbers results as they come
  kNumBugs
};

#ifdef SLUICE_BUGS
inline DeliberateBug deliberate_bug = kNoBug;
inline bool Bug(DeliberateBug bug) { return deliberate_bug == bug; }
#else
constexpr bool Bug(DeliberateBug) { return false; }
#endif

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_TESTING_BUGS_H_
