#include "backend/llvm_fatal.h"

#include <llvm/ADT/StringRef.h>
#include <llvm/Support/ErrorHandling.h>
#include <unistd.h>

#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

#include "base/error.h"

namespace ourjit {

namespace {

/// One run_apart(), shared by the two threads.
struct Run {
  std::mutex mutex;
  std::condition_variable ended;
  bool done = false, fatal = false;
  std::exception_ptr error;
  std::string message;

  void end() {
    {
      const std::lock_guard lock(mutex);
      done = true;
    }
    ended.notify_one();
  }
};

thread_local Run* current = nullptr;

void handle_fatal(void*, const char* message, bool) {
  if (!current) return;
  current->fatal = true;
  current->message = llvm::StringRef(message).rtrim().str();
  current->end();
  for (;;) pause();
}

}  // namespace

void run_apart(const std::function<void()>& work) {
  [[maybe_unused]] static const bool installed = [] {
    llvm::install_fatal_error_handler(&handle_fatal);
    return true;
  }();
  const auto run = std::make_shared<Run>();
  std::thread thread([run, &work] {
    current = run.get();
    try {
      work();
    } catch (...) {
      run->error = std::current_exception();
    }
    run->end();
  });
  {
    std::unique_lock lock(run->mutex);
    run->ended.wait(lock, [&] { return run->done; });
  }
  if (run->fatal) {
    thread.detach();
    throw BackendError(run->message);
  }
  thread.join();
  if (run->error) std::rethrow_exception(run->error);
}

}  // namespace ourjit
