// Ctrl-C while a step runs on the main thread. Python only notes the signal until the interpreter runs again, which it does not
// while a step is running; so we put a handler of our own before Python's. It wakes a thread that cancels the step; Python's
// handler runs as ever, and the KeyboardInterrupt is raised when the step has ended.
#include <semaphore.h>
#include <signal.h>

#include <atomic>
#include <thread>

#include "python/native/py.h"

namespace sluice_python {
namespace {

std::atomic<SL_Cancellation*> running{nullptr};
struct sigaction python_action;
sem_t interrupts;

void OnInterrupt(int signal, siginfo_t* info, void* context) {
  if (running.load(std::memory_order_relaxed) != nullptr) sem_post(&interrupts);
  if (python_action.sa_flags & SA_SIGINFO) {
    python_action.sa_sigaction(signal, info, context);
  } else if (python_action.sa_handler != SIG_DFL && python_action.sa_handler != SIG_IGN) {
    python_action.sa_handler(signal);
  }
}

// Guards `running` against the step's end while it is cancelled.
std::atomic_flag busy = ATOMIC_FLAG_INIT;

void Watch() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  for (;;) {
    while (sem_wait(&interrupts) != 0) {
    }
    while (busy.test_and_set(std::memory_order_acquire)) {
    }
    if (SL_Cancellation* c = running.load(std::memory_order_relaxed)) SL_Cancel(c, "interrupted from the keyboard");
    busy.clear(std::memory_order_release);
  }
}

bool Install() {
  struct sigaction current;
  if (sigaction(SIGINT, nullptr, &current) != 0) return false;
  if ((current.sa_flags & SA_SIGINFO) && current.sa_sigaction == OnInterrupt) return true;
  // Only Python's own way of handling is wrapped: a program that ignores the signal, or dies of it, goes on doing so.
  if (!(current.sa_flags & SA_SIGINFO) && (current.sa_handler == SIG_DFL || current.sa_handler == SIG_IGN)) return false;
  static bool watching = [] {
    sem_init(&interrupts, 0, 0);
    std::thread(Watch).detach();
    return true;
  }();
  (void)watching;
  python_action = current;
  struct sigaction ours = current;
  ours.sa_sigaction = OnInterrupt;
  ours.sa_flags = (current.sa_flags | SA_SIGINFO);
  return sigaction(SIGINT, &ours, nullptr) == 0;
}

}  // namespace

InterruptScope::InterruptScope(SL_Cancellation* cancellation)
    : active_(PyThread_get_thread_ident() == hooks.main_thread && Install()) {
  if (active_) running.store(cancellation, std::memory_order_relaxed);
}

InterruptScope::~InterruptScope() {
  if (!active_) return;
  while (busy.test_and_set(std::memory_order_acquire)) {
  }
  running.store(nullptr, std::memory_order_relaxed);
  busy.clear(std::memory_order_release);
}

}  // namespace sluice_python
