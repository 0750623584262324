// A queue of tuples of tensors that steps and sessions share.
//
//   ASSIGN_OR_RETURN(RefPtr<Queue> q, Queue::Make({.name = "q", .types = {DType::kFloat}, .capacity = 10}));
//   q->Enqueue({Tensor::Scalar(1.f)}, token, /*timeout_ms=*/-1, done);
//   q->Dequeue(token, -1, [&](Queue::Element e) { ... return absl::OkStatus(); }, done);
//
// Order:    enqueues wait in the order of their arrival, and so do dequeues. A batch is filled as elements come; when
// it
//           ends early they go back to where they were.
// Close:    enqueues that wait go on (or are CANCELLED); later ones are CANCELLED. Dequeues go on until the elements do
//           not suffice: OUT_OF_RANGE.
// Memory:   `capacity` elements and what its waiting enqueues hold. Elements share the bytes of the batch they came in
//           as long as the order is that of arrival; otherwise each has bytes of its own.
// Threads, blocking: see waiting.h.
#ifndef SLUICE_KERNELS_QUEUE_QUEUE_H_
#define SLUICE_KERNELS_QUEUE_QUEUE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/philox.h"
#include "core/types/tensor.h"
#include "kernels/queue/waiting.h"

namespace sluice {

class Queue : public WaitingResource {
 public:
  enum Kind { kFifo, kShuffle, kPadding, kPriority };
  struct Options {
    Kind kind = kFifo;
    std::string name;
    std::vector<DType> types;
    std::vector<PartialShape> shapes;  // of one element's components; empty: any
    int64_t capacity = -1;             // negative: no limit
    int64_t min_after_dequeue = 0;     // kShuffle: stay in the queue until it is closed
    int64_t seed = 0, seed2 = 0;       // kShuffle; both 0: different each time
  };
  using Element = std::vector<Tensor>;

  static absl::StatusOr<RefPtr<Queue>> Make(Options options);
  const Options& options() const { return options_; }
  // Two nodes share a queue only when they agree on it; the error says on what they do not.
  absl::Status CheckSame(const Options& wanted) const;

  void Enqueue(Element element, CancellationToken* token, int64_t timeout_ms, Done done);
  // An element for each row of the components.
  void EnqueueMany(const Element& batch, CancellationToken* token, int64_t timeout_ms, Done done);
  void Dequeue(CancellationToken* token, int64_t timeout_ms, std::function<absl::Status(Element)> deliver, Done done);
  // n elements as one batch; with `up_to`, a closed queue may give fewer, but at least one.
  void DequeueMany(int64_t n, bool up_to, CancellationToken* token, int64_t timeout_ms,
                   std::function<absl::Status(Element)> deliver, Done done);
  absl::Status Close(bool cancel_pending_enqueues);
  bool IsClosed() const;
  int64_t size() const;
  // "FIFOQueue 'q'".
  std::string Title() const override;
  std::string DebugString() const override;
  static const char* KindName(Kind kind);

 private:
  // An element with what decides its place.
  struct Entry {
    Element parts;
    int64_t priority = 0;
    uint64_t arrival = 0;
  };
  struct Put;
  struct Take;

  explicit Queue(Options options);
  absl::Status CheckElement(const Element& element, bool batch) const;
  absl::StatusOr<Element> Stack(std::vector<Entry> entries) const;
  void StartPut(std::vector<Element> elements, CancellationToken* token, int64_t timeout_ms, Done done);
  void StartTake(int64_t n, bool batch, bool up_to, CancellationToken* token, int64_t timeout_ms,
                 std::function<absl::Status(Element)> deliver, Done done);

  void List(const RefPtr<Attempt>& attempt) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Unlist(const RefPtr<Attempt>& attempt) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Advance() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool AdvancePuts() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool AdvanceTakes() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  int64_t SizeLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Push(Entry entry, bool back_to_its_place) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Entry Pop() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void GiveBack(std::vector<Entry>* taken) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status ClosedError() const;
  uint32_t NextRandom() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Options options_;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t arrivals_ ABSL_GUARDED_BY(mu_) = 0;
  std::deque<Entry> line_ ABSL_GUARDED_BY(mu_);                                     // all but kPriority
  std::map<std::pair<int64_t, uint64_t>, Entry> by_priority_ ABSL_GUARDED_BY(mu_);  // kPriority
  Philox4x32 random_ ABSL_GUARDED_BY(mu_);
  std::array<uint32_t, 4> drawn_ ABSL_GUARDED_BY(mu_) = {};
  int undrawn_ ABSL_GUARDED_BY(mu_) = 0;
  std::list<RefPtr<Put>> puts_ ABSL_GUARDED_BY(mu_);
  std::list<RefPtr<Take>> takes_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sluice

#endif  // SLUICE_KERNELS_QUEUE_QUEUE_H_
