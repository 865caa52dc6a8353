"""CPython's asyncio, on its own event loop."""

import asyncio
import os
import sys
from time import perf_counter_ns

from peer import answer, requests, say, shuffled


async def turns(n):
    # In the loop: sleep(0) in n tasks, of which one is the keeper (see src/rivals/ring.rs).
    mode, parked, taken, waiting = "parked", 0, 0, [None] * (n - 1)

    async def task(k):
        nonlocal parked, taken
        while True:
            waiting[k] = asyncio.get_running_loop().create_future()
            parked += 1
            await waiting[k]
            while mode == "warm":  # turns before the clock starts do not count
                await asyncio.sleep(0)
            turns = 0
            while mode != "parked":
                turns += 1
                await asyncio.sleep(0)
            taken += turns

    async def all_parked():
        while parked < n - 1:
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(task(k)) for k in range(n - 1)]
    await all_parked()
    for body, count in requests():
        parked, taken, mode = 0, 0, "warm"
        for future in shuffled(waiting, body):
            future.set_result(None)
        await asyncio.sleep(0)
        mode = body
        start = perf_counter_ns()
        for _ in range(count):
            await asyncio.sleep(0)
        elapsed = perf_counter_ns() - start
        mode = "parked"
        await all_parked()
        say(f"{elapsed} {taken + count}")
    os._exit(len(tasks) != n - 1)


async def spawns(n):
    # In the loop: create_task, and the task awaited.
    async def add_one(i):
        return i + 1

    for _, count in requests():
        start = perf_counter_ns()
        for i in range(count):
            if n == 1:
                await asyncio.create_task(add_one(i))
            else:
                for task in [asyncio.create_task(add_one(k)) for k in range(n)]:
                    await task
        answer(start, count * n)


async def memory(n):
    say("ready")
    sys.stdin.readline()

    async def wait():
        await asyncio.get_running_loop().create_future()

    tasks = []
    for k in range(n):
        if k % 1000 == 0:
            say(f"at {k}")
        tasks.append(asyncio.create_task(wait()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    say(f"held {len(tasks)} ")
    sys.stdin.readline()
    os._exit(0)


async def channel(n):
    # In the loop, n == 2: a message there and one back. Otherwise: one from each of n producers.
    if n == 2:
        to, back = asyncio.Queue(1), asyncio.Queue(1)

        async def reply():
            while True:
                await back.put(await to.get() + 1)

        other = asyncio.create_task(reply())
        for _, count in requests():
            start = perf_counter_ns()
            for i in range(count):
                await to.put(i)
                await back.get()
            answer(start, count * n)
        os._exit(other.done())
    queue = asyncio.Queue(1024)

    async def produce(count):
        for i in range(count):
            await queue.put(i)

    for _, count in requests():
        producers = [asyncio.create_task(produce(count)) for _ in range(n)]
        start = perf_counter_ns()
        for _ in range(count * n):
            await queue.get()
        answer(start, count * n)
        await asyncio.gather(*producers)


work = {"yield": turns, "spawn": spawns, "memory": memory, "channel": channel}
asyncio.run(work[sys.argv[1]](int(sys.argv[2])))
