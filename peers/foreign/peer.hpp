// The child's side of the protocol (see src/serve.rs) for rivals in C++.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
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

// Calls `one()` n times, or as often as it can, and waits until the parent has looked.
template <class One> void hold(std::uint64_t n, One one) {
  std::string line;
  say("ready");
  std::getline(std::cin, line);
  std::uint64_t k = 0;
  std::string why;
  try {
    for (; k < n; k++) {
      if (k % 1000 == 0) say("at " + std::to_string(k));
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
