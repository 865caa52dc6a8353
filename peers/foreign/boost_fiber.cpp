// Boost.Fiber on one thread, with its round robin. Stacks are from its `pooled_fixedsize_stack`, its fastest, which have no
// guard, or with `-DPROTECTED` its `protected_fixedsize_stack`, which have one.
#include "peer.hpp"
#include <algorithm>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <boost/fiber/all.hpp>
#include <numeric>
#include <random>
#include <vector>

namespace fibers = boost::fibers;
#ifdef PROTECTED
using Stack = boost::context::protected_fixedsize_stack;
#else
using Stack = fibers::pooled_fixedsize_stack;
#endif

static std::size_t stack_size;

template <class Body> fibers::fiber start(Body body) {
  static Stack stack{stack_size};
  return fibers::fiber{fibers::launch::post, std::allocator_arg, Stack{stack}, body};
}

enum Mode { PARKED, WARM, REGISTERS, STACK };
static volatile Mode mode = PARKED;
static std::uint64_t idle, sum;
static std::vector<fibers::context *> waiting;

static void park(std::uint64_t turns) {
  sum += turns;
  idle++;
  fibers::context::active()->suspend();
}

static void task() {
  waiting.push_back(fibers::context::active());
  park(0);
  for (;;) {
    while (mode == WARM) boost::this_fiber::yield(); // turns before the clock starts do not count
    if (mode == REGISTERS) {
      std::uint64_t turns = 0;
      while (mode == REGISTERS) {
        turns++;
        boost::this_fiber::yield();
      }
      park(turns);
    } else {
      volatile std::uint64_t turns = 0;
      while (mode == STACK) {
        turns = turns + 1;
        boost::this_fiber::yield();
      }
      park(turns);
    }
  }
}

// In the loop: this_fiber::yield in n fibers, of which main is one, the keeper (see src/rivals/ring.rs).
static void turns(std::uint64_t n) {
  std::uint64_t k = 0;
  try {
    for (; k + 1 < n; k++) start(task).detach();
  } catch (const std::exception &error) {
    return say("error no stack after " + std::to_string(k) + ": " + error.what());
  }
  auto all_parked = [&] {
    while (idle < n - 1) boost::this_fiber::yield();
  };
  all_parked();
  const auto made = waiting;
  requests([&](const std::string &body, std::uint64_t count) {
    auto order = made;
    if (body == "shuffled") std::shuffle(order.begin(), order.end(), std::mt19937_64{1});
    idle = sum = 0;
    mode = WARM;
    for (auto fiber : order) fibers::context::active()->schedule(fiber);
    boost::this_fiber::yield();
    mode = body == "registers" ? REGISTERS : STACK;
    auto begin = Clock::now();
    if (body == "registers") {
      for (std::uint64_t i = 0; i < count; i++) boost::this_fiber::yield();
    } else {
      volatile std::uint64_t turns = 0;
      for (std::uint64_t i = 0; i < count; i++) {
        turns = turns + 1;
        boost::this_fiber::yield();
      }
    }
    auto elapsed = Clock::now() - begin;
    mode = PARKED;
    all_parked();
    answer(elapsed, sum + count);
  });
}

// In the loop: a fiber started and joined.
static void spawns(std::uint64_t n) {
  requests([&](const std::string &, std::uint64_t count) {
    std::vector<std::uint64_t> results(n);
    std::vector<fibers::fiber> all(n);
    auto begin = Clock::now();
    for (std::uint64_t i = 0; i < count; i++) {
      for (std::uint64_t k = 0; k < n; k++) all[k] = start([&results, k, i] { results[k] = i + 1; });
      for (auto &fiber : all) fiber.join();
      black_box(results[0]);
    }
    answer(Clock::now() - begin, count * n);
  });
}

static void memory(std::uint64_t n) {
#ifdef PROTECTED
  const bool guarded = true;
#else
  const bool guarded = false;
#endif
  hold(n, guarded, [] {
    start([] { fibers::context::active()->suspend(); }).detach();
    boost::this_fiber::yield();
  });
}

// In the loop, n == 2: a message there and one back (the least capacity is 2). Otherwise: one from each of n producers.
static void channel(std::uint64_t n) {
  using Channel = fibers::buffered_channel<std::uint64_t>;
  if (n == 2) {
    Channel to{2}, back{2};
    start([&] {
      for (std::uint64_t value : to) back.push(value + 1);
    }).detach();
    requests([&](const std::string &, std::uint64_t count) {
      auto begin = Clock::now();
      for (std::uint64_t i = 0; i < count; i++) {
        to.push(i);
        std::uint64_t value = back.value_pop();
        black_box(value);
      }
      answer(Clock::now() - begin, count * n);
    });
    std::_Exit(0);
  }
  Channel from{1024};
  requests([&](const std::string &, std::uint64_t count) {
    for (std::uint64_t k = 0; k < n; k++) {
      start([&from, count] {
        for (std::uint64_t i = 0; i < count; i++) from.push(i);
      }).detach();
    }
    auto begin = Clock::now();
    for (std::uint64_t i = 0; i < count * n; i++) {
      std::uint64_t value = from.value_pop();
      black_box(value);
    }
    answer(Clock::now() - begin, count * n);
  });
}

int main(int, char **arguments) {
  const std::string area = arguments[1];
  const std::uint64_t n = std::stoull(arguments[2]);
  stack_size = area == "yield" && n >= 100000 ? 16 * 1024 : 64 * 1024;
  if (area == "yield") turns(n);
  if (area == "spawn") spawns(n);
  if (area == "memory") memory(n);
  if (area == "channel") channel(n);
  std::_Exit(0);
}
