// Boost.Context: fiber, its stackful coroutine. A value travels in a variable that both sides see.
#include "peer.hpp"
#include <boost/context/fiber.hpp>
#include <boost/context/fixedsize_stack.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <list>

namespace context = boost::context;

int main(int, char **arguments) {
  const std::string area = arguments[1];
  const std::uint64_t n = std::stoull(arguments[2]);
  std::uint64_t value = 0;
  auto make = [&] {
    return context::fiber{std::allocator_arg, context::protected_fixedsize_stack{64 * 1024}, [&](context::fiber &&out) {
                            while (value < UINT64_MAX) {
                              value++;
                              out = std::move(out).resume();
                            }
                            return std::move(out);
                          }};
  };
  if (area == "memory") {
    std::list<context::fiber> all;
    hold(n, true, [&] { all.push_back(make().resume()); });
  }
  // In the loop: resume.
  context::fiber fiber = make();
  requests([&](const std::string &, std::uint64_t count) {
    auto start = Clock::now();
    for (std::uint64_t i = 0; i < count; i++) {
      value = i;
      fiber = std::move(fiber).resume();
      black_box(value);
    }
    answer(Clock::now() - start, count);
  });
  std::_Exit(0);
}
