"""The child's side of the protocol (see src/serve.rs) for rivals in Python."""

import gc
import os
import sys
from time import perf_counter_ns

# What the measured programs make is not garbage; the collector would only look at it again and again.
gc.disable()


def say(line):
    print(line, flush=True)


def requests():
    """Pairs of a body and a count, until the parent wants no more."""
    say("ready")
    for line in sys.stdin:
        body, count = line.split()
        yield body, int(count)


def answer(start, operations):
    say(f"{perf_counter_ns() - start} {operations}")


def hold(n, one):
    """Holds what `one()` makes n times, or as often as it can."""
    say("ready")
    sys.stdin.readline()
    held, why = [], ""
    try:
        for k in range(n):
            if k % 1000 == 0:
                say(f"at {k}")
            held.append(one())
    except Exception as error:
        why = repr(error)
    say(f"held {len(held)} {why}")
    sys.stdin.readline()
    os._exit(0)


def shuffled(items, body):
    """The items in order, or for the body `shuffled` in a random one."""
    import random

    items = list(items)
    if body == "shuffled":
        random.Random(1).shuffle(items)
    return items
