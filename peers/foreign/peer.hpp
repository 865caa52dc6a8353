// The child's side of the protocol (see src/serve.rs) for rivals in C++.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

using Clock = std::chrono::steady_clock;

inline void say(const std::string &line) { std::cout << line << std::endl; }

inline void answer(Clock::duration elapsed, std::uint64_t operations) {
  say(std::to_string(std::chrono::duration_cast<std::chrono::nanoseconds>(elapsed).count()) + " " +
      std::to_string(operations));
}

// Calls `run(body, count)` for each request.
template <class Run> void requests(Run run) {
  say("ready");
  std::string body;
  std::uint64_t count;
  while (std::cin >> body >> count) run(body, count);
}

inline std::uint64_t mappings() {
  std::ifstream maps("/proc/self/maps");
  return std::count(std::istreambuf_iterator<char>(maps), {}, '\n');
}

// Calls `one()` n times, or as often as it can, and waits until the parent has looked. With `guarded`, each must have a guard,
// which is a mapping of its own: where the system has no more of them, Boost does not look whether its mprotect succeeds.
template <class One> void hold(std::uint64_t n, bool guarded, One one) {
  std::string line;
  say("ready");
  std::getline(std::cin, line);
  std::uint64_t k = 0;
  std::string why;
  try {
    for (; k < n; k++) {
      if (k % 1000 == 0) say("at " + std::to_string(k));
      if (guarded && k % 1000 == 0 && k >= 20000 && mappings() < 2 * k) {
        why = "from here on stacks have no guard, since mprotect fails, which Boost does not notice";
        break;
      }
      one();
    }
  } catch (const std::exception &error) {
    why = error.what();
  }
  say("held " + std::to_string(k) + " " + why);
  std::getline(std::cin, line);
  std::_Exit(0);
}

// Keeps the compiler from knowing what a value is.
template <class T> inline void black_box(T &value) { asm volatile("" : "+r,m"(value) : : "memory"); }
