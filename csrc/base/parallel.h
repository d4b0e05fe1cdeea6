// A few threads for work that takes milliseconds.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <thread>
#include <vector>

namespace ourjit {

/// Calls work(i) for 0 .. n - 1 on up to `threads` threads, this one among them. After an exception
/// no new call starts, and the exception is raised here.
template <class Work>
void for_each_parallel(size_t n, size_t threads, const Work& work) {
  threads = std::min(threads, n);
  std::atomic<size_t> next{0};
  std::vector<std::exception_ptr> errors(threads);
  const auto run = [&](size_t t) {
    try {
      for (size_t i = next++; i < n; i = next++) work(i);
    } catch (...) {
      errors[t] = std::current_exception();
      next = n;
    }
  };
  std::vector<std::thread> workers;
  for (size_t t = 1; t < threads; ++t) workers.emplace_back(run, t);
  if (threads) run(0);
  for (std::thread& t : workers) t.join();
  for (const std::exception_ptr& e : errors)
    if (e) std::rethrow_exception(e);
}

}  // namespace ourjit
