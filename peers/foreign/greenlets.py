"""greenlet: stackful coroutines of CPython, which copies the parts of the C stack that overlap."""

import sys
from time import perf_counter_ns

from greenlet import getcurrent, greenlet

from peer import answer, hold, requests, shuffled
main = getcurrent()


def echo(i):
    while True:
        i = main.switch(i + 1)


def switch():
    # In the loop: switch to it and back.
    g = greenlet(echo)
    g.switch(0)
    there = g.switch
    for _, count in requests():
        start = perf_counter_ns()
        for i in range(count):
            there(i)
        answer(start, count)


def turns(n):
    # In the loop: each switches straight to the next one of a circle, in which main is one of n.
    following = {}

    def counting():
        main.switch()  # started by main, and not by one another: they would nest
        turns = 0
        while True:
            turns += 1
            following[getcurrent()]()

    tasks = [greenlet(counting) for _ in range(n - 1)]
    for task in tasks:
        task.switch()
    for body, count in requests():
        circle = [main, *shuffled(tasks, body)]
        for k, task in enumerate(circle):
            following[task] = circle[(k + 1) % n].switch
        following[main]()
        start = perf_counter_ns()
        for _ in range(count):
            following[main]()
        answer(start, count * n)


def spawns(n):
    # In the loop: a greenlet made, run to its end and dropped.
    def add_one(i):
        return i + 1

    for _, count in requests():
        start = perf_counter_ns()
        for i in range(count):
            if n == 1:
                greenlet(add_one).switch(i)
            else:
                for g in [greenlet(add_one) for _ in range(n)]:
                    g.switch(i)
        answer(start, count * n)


def suspended():
    g = greenlet(echo)
    g.switch(0)
    return g


area, n = sys.argv[1], int(sys.argv[2])
match area:
    case "switch":
        switch()
    case "yield":
        turns(n)
    case "spawn":
        spawns(n)
    case "memory":
        hold(n, suspended)
