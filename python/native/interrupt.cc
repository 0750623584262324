// Ctrl-C while a step runs on the main thread. Python only notes the signal until the interpreter runs again, which it
// does not while a step is running; so we put a handler of our own before Python's. It wakes a thread that cancels the
// step; Python's handler runs as ever, and the KeyboardInterrupt is raised when the step has ended. A program that has
// set a handler of its own, to stop between steps say, keeps its steps whole.
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>

#include <atomic>
#include <thread>

#include "python/native/py.h"

namespace sluice_python {
namespace {

std::atomic<SL_Cancellation*> running{nullptr};
std::atomic<uint64_t> step{0};         // counts the steps that can be interrupted
std::atomic<uint64_t> interrupted{0};  // the one that the last signal met
struct sigaction python_action;
sem_t interrupts;

void OnInterrupt(int signal, siginfo_t* info, void* context) {
  if (running.load(std::memory_order_relaxed) != nullptr) {
    interrupted.store(step.load(std::memory_order_relaxed), std::memory_order_relaxed);
    sem_post(&interrupts);
  }
  if (python_action.sa_flags & SA_SIGINFO) {
    python_action.sa_sigaction(signal, info, context);
  } else if (python_action.sa_handler != SIG_DFL && python_action.sa_handler != SIG_IGN) {
    python_action.sa_handler(signal);
  }
}

// Guards `running` against the step's end while it is cancelled.
std::atomic_flag busy = ATOMIC_FLAG_INIT;

// Whether Ctrl-C raises KeyboardInterrupt, rather than calling a function of the program.
bool IsPythonsOwnHandler() {
  if (!Py_IsInitialized()) return false;
  PyGILState_STATE state = EnsureGil();
  bool own = true;
  {
    Ref signals(PyImport_ImportModule("signal"));
    Ref handler(signals ? PyObject_CallMethod(signals.get(), "getsignal", "i", SIGINT) : nullptr);
    Ref standard(signals ? PyObject_GetAttrString(signals.get(), "default_int_handler") : nullptr);
    own = !handler || handler.get() == standard.get();
    PyErr_Clear();
  }
  PyGILState_Release(state);
  return own;
}

void Watch() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  for (;;) {
    while (sem_wait(&interrupts) != 0) {
    }
    if (!IsPythonsOwnHandler()) continue;
    while (busy.test_and_set(std::memory_order_acquire)) {
    }
    // Only the step that the signal met, not one that has begun since.
    SL_Cancellation* c = running.load(std::memory_order_relaxed);
    if (c != nullptr && step.load(std::memory_order_relaxed) == interrupted.load(std::memory_order_relaxed)) {
      SL_Cancel(c, "interrupted from the keyboard");
    }
    busy.clear(std::memory_order_release);
  }
}

// Gives this thread a stack for signal handlers. oneDNN's AVX-512 matrix kernels use the stack pointer for data, so a
// handler on the thread's own stack would write over what they compute on. Python asks for such a stack (SA_ONSTACK)
// but has none.
void UseSignalStack() {
  static bool done = [] {
    stack_t current;
    if (sigaltstack(nullptr, &current) != 0 || (current.ss_flags & SS_DISABLE) == 0) return false;
    stack_t ours = {};
    ours.ss_size = 256 << 10;
    ours.ss_sp = malloc(ours.ss_size);  // for the life of the process
    return ours.ss_sp != nullptr && sigaltstack(&ours, nullptr) == 0;
  }();
  (void)done;
}

bool Install() {
  UseSignalStack();
  struct sigaction current;
  if (sigaction(SIGINT, nullptr, &current) != 0) return false;
  if ((current.sa_flags & SA_SIGINFO) && current.sa_sigaction == OnInterrupt) return true;
  // Only Python's own way of handling is wrapped: a program that ignores the signal, or dies of it, goes on doing so.
  if (!(current.sa_flags & SA_SIGINFO) && (current.sa_handler == SIG_DFL || current.sa_handler == SIG_IGN))
    return false;
  static bool watching = [] {
    sem_init(&interrupts, 0, 0);
    std::thread(Watch).detach();
    return true;
  }();
  (void)watching;
  python_action = current;
  struct sigaction ours = current;
  ours.sa_sigaction = OnInterrupt;
  ours.sa_flags = current.sa_flags | SA_SIGINFO | SA_ONSTACK;
  return sigaction(SIGINT, &ours, nullptr) == 0;
}

}  // namespace

InterruptScope::InterruptScope(SL_Cancellation* cancellation)
    : active_(PyThread_get_thread_ident() == hooks.main_thread && Install()) {
  if (!active_) return;
  step.fetch_add(1, std::memory_order_relaxed);
  running.store(cancellation, std::memory_order_relaxed);
}

InterruptScope::~InterruptScope() {
  if (!active_) return;
  while (busy.test_and_set(std::memory_order_acquire)) {
  }
  running.store(nullptr, std::memory_order_relaxed);
  busy.clear(std::memory_order_release);
}

}  // namespace sluice_python
