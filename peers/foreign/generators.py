"""CPython's generators. In place of a scheduler: a loop over a deque, as in the tutorials."""

import sys
from collections import deque
from time import perf_counter_ns

from peer import answer, hold, requests, shuffled


def echo():
    i = 0
    while True:
        i = yield i + 1


def counting():
    turns = 0
    while True:
        turns += 1
        yield


def started(generator):
    next(generator)
    return generator


def switch():
    # In the loop: send.
    send = started(echo()).send
    for _, count in requests():
        start = perf_counter_ns()
        for i in range(count):
            send(i)
        answer(start, count)


def turns(n):
    # In the loop: the first of the queue is resumed and goes to its end. A Python local is in memory with every body.
    tasks = [started(counting()) for _ in range(n)]
    for body, count in requests():
        queue = deque(shuffled(tasks, body))
        start = perf_counter_ns()
        for _ in range(count * n):
            task = queue.popleft()
            next(task)
            queue.append(task)
        answer(start, count * n)


area, n = sys.argv[1], int(sys.argv[2])
match area:
    case "switch":
        switch()
    case "yield":
        turns(n)
    case "memory":
        hold(n, lambda: started(counting()))
