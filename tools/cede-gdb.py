"""gdb commands that show the tasks of a program that uses cede, in a live process or in a core file.

    (gdb) source tools/cede-gdb.py
    (gdb) cede tasks            every task of every run: number, name, state, reason of its wait, stack, function
    (gdb) cede bt 5             the backtrace of a suspended task; `cede bt 2.5` is task 5 of the second run, and `cede bt 5@1` is
                                that of worker 1

Each worker of a run with several workers is listed as a run of its own.

The script calls nothing in the program and writes nothing to it. It needs the program's symbols (not stripped) to find
the tasks. `cede bt` also needs the unwind tables, which every Rust program has. Line numbers need
`debug = "line-tables-only"` or more.

A core file must contain the stacks. Core files of the kernel do (`kill -ABRT`, with `ulimit -c unlimited`). gdb's `gcore`
omits every mapping that has an unreadable page. On Linux 6.13 and later the guard pages are such pages inside the
mappings of the stacks, so `gcore` omits the stacks.
"""

import re
import struct

import gdb
import gdb.unwinder

MAGIC = 0x6365646500000001
PHASES = ["free", "pending", "ready", "waiting", "done", "cancelled"]
# The order of src/scheduler/debugger.rs.
NAMES = """native context_size slots first before tcb_size id phase reason_at reason_len name_at name_len name_data
slab index slab_start stack_size guard_size current event_loop""".split()
SYMBOL = "cede::scheduler::debugger::CEDE_DEBUG_LAYOUT"


def words(address, count=1):
    data = bytes(gdb.selected_inferior().read_memory(address, 8 * count))
    return struct.unpack("<%dQ" % count, data)


def word(address):
    return words(address)[0]


def text(address, length):
    if not address or length > 4096:
        return ""
    return bytes(gdb.selected_inferior().read_memory(address, length)).decode("utf-8", "replace")


# The lines of a backtrace that belong to the library, in every wait. Matched by file: with line tables only, function names
# have no paths.
OWN = re.compile(r"arch/(x86_64|aarch64|native)\.rs:|src/scheduler/\w+\.rs:|src/(wait/suspend|task/(park|handle))\.rs:|src/time/mod\.rs:")


class InC:
    """Sets gdb's language to C, so that expressions do not depend on the language of the selected frame."""

    def __enter__(self):
        self.language = gdb.parameter("language")
        gdb.execute("set language c", to_string=True)

    def __exit__(self, *_):
        gdb.execute("set language " + self.language, to_string=True)


class Task:
    """A task, read from its task control block (TCB)."""

    def __init__(self, layout, tcb, context, worker):
        self.tcb, self.context = tcb, context
        self.id = word(tcb + layout["id"])
        # The worker's number is in the upper bits: see src/scheduler/task_id.rs.
        self.number = str(self.id % 2**48) + ("@%d" % (self.id >> 48) if self.id >> 48 else "")
        self.phase = bytes(gdb.selected_inferior().read_memory(tcb + layout["phase"], 1))[0]
        self.running = context == word(worker + layout["current"])
        self.is_event_loop = tcb == word(worker + layout["event_loop"])
        name = word(tcb + layout["name_at"])
        self.name = text(name and name + layout["name_data"], word(tcb + layout["name_len"]))
        self.reason = ""
        if PHASES[self.phase] == "waiting":
            self.reason = text(word(tcb + layout["reason_at"]), word(tcb + layout["reason_len"]))
        slab = word(tcb + layout["slab"])
        self.stack = None
        if slab:
            index = word(tcb + layout["index"]) & 0xFFFFFFFF
            size, guard = word(slab + layout["stack_size"]), word(slab + layout["guard_size"])
            start = word(slab + layout["slab_start"]) + index * (size + guard)
            self.stack = (start + guard, start + guard + size - index % 32 * 64)

    def state(self):
        if self.running:
            return "running"
        state = PHASES[self.phase]
        return "pending" if state == "ready" else state

    def is_suspended(self):
        return not self.running and PHASES[self.phase] in ("pending", "ready", "waiting")


def layout_address():
    # With line tables only, gdb does not know the variable, only a symbol with a hash at the end of its name.
    for line in gdb.execute("info variables CEDE_DEBUG_LAYOUT", to_string=True).splitlines():
        if line.startswith("0x") and SYMBOL in line:
            return int(line.split()[0], 16)
    with InC():
        try:
            return int(gdb.parse_and_eval("(unsigned long)&'%s'" % SYMBOL))
        except gdb.error:
            raise gdb.GdbError("no symbol %s: the program does not use cede, or it was stripped. Build it without `strip`; "
                               "`debug = \"line-tables-only\"` adds line numbers" % SYMBOL)


def layout_of_program():
    address = layout_address()
    magic, runs = words(address, 2)
    if magic == 0:
        raise gdb.GdbError("no run has started yet")
    if magic != MAGIC:
        raise gdb.GdbError("this script is for another version of cede: use the script of the program's version")
    layout = dict(zip(NAMES, words(address + 16, len(NAMES))))
    all_runs = [words(address + 16 + 8 * len(NAMES) + 16 * i, 2) for i in range(runs)]
    return layout, [run for run in all_runs if run[0]]


def tasks_of(layout, worker, table):
    tasks = []
    chunk = word(table + layout["first"])
    while chunk:
        tcbs = word(chunk)
        for slot in range(1, layout["slots"]):
            tcb = tcbs + slot * layout["tcb_size"]
            if bytes(gdb.selected_inferior().read_memory(tcb + layout["phase"], 1))[0]:
                tasks.append(Task(layout, tcb, chunk + slot * layout["context_size"], worker))
        chunk = word(chunk + layout["before"])
    return sorted((task for task in tasks if not task.is_event_loop), key=lambda task: task.id)


class SwitchedUnwinder(gdb.unwinder.Unwinder):
    """Makes the suspended task at `context` the caller of the innermost frame, while `context` is set."""

    context = None
    here = None

    def __init__(self):
        super().__init__("cede")

    def __call__(self, pending):
        if self.context is None:
            return None
        pc, sp = int(pending.read_register("pc")), int(pending.read_register("sp"))
        if (pc, sp) != self.here:
            return None

        class Id:
            pass

        # An address below every stack, because gdb expects the next frame at a higher address.
        Id.sp, Id.pc = gdb.Value(0), gdb.Value(pc)
        info = pending.create_unwind_info(Id)
        arm = "aarch64" in gdb.selected_inferior().architecture().name()
        registers = ("sp", "pc", "x29", "x19") if arm else ("rsp", "rip", "rbp", "rbx")
        kind = gdb.lookup_type("unsigned long")
        for register, value in zip(registers, words(self.context, 4)):
            info.add_saved_register(register, gdb.Value(value).cast(kind))
        return info


UNWINDER = SwitchedUnwinder()
gdb.unwinder.register_unwinder(None, UNWINDER, replace=True)


def backtrace(context, limit=1000000):
    """Returns the lines of gdb's backtrace of the suspended context."""
    with InC():
        frame = gdb.selected_frame()
        gdb.newest_frame().select()
        newest = gdb.newest_frame()
        UNWINDER.here = (int(newest.read_register("pc")), int(newest.read_register("sp")))
        try:
            UNWINDER.context = context
            gdb.invalidate_cached_frames()
            lines = gdb.execute("bt %d" % (limit + 1), to_string=True).splitlines()
        finally:
            UNWINDER.context = None
            gdb.invalidate_cached_frames()
            gdb.newest_frame().select()
    return [line for line in lines if line.startswith("#") and not line.startswith("#0 ")]


def own_function(context):
    """Returns the name of the innermost function outside of the library, among the first 12 frames."""
    name = ""
    for line in backtrace(context, 12):
        name = line.split(" in ", 1)[-1].split(" (", 1)[0].lstrip("#0123456789 ")
        if not OWN.search(line):
            break
    return name


class Cede(gdb.Command):
    """Shows the tasks of cede: `cede tasks`, `cede bt ID`."""

    def __init__(self):
        super().__init__("cede", gdb.COMMAND_STACK, prefix=True)


class CedeTasks(gdb.Command):
    """cede tasks: lists every task of every run."""

    def __init__(self):
        super().__init__("cede tasks", gdb.COMMAND_STACK)

    def invoke(self, argument, tty):
        layout, runs = layout_of_program()
        if not runs:
            print("no run is active")
        for number, (worker, table) in enumerate(runs, 1):
            tasks = tasks_of(layout, worker, table)
            print("run %d: %d task%s" % (number, len(tasks), "" if len(tasks) == 1 else "s"))
            for task in tasks:
                line = "  %s %s %s" % (task.number, repr(task.name) if task.name else "(unnamed)", task.state())
                if task.reason:
                    line += ": " + task.reason
                if task.stack:
                    line += ", stack %#x..%#x" % task.stack
                if layout["native"] and task.is_suspended():
                    line += ", in " + own_function(task.context)
                print(line)


class CedeBt(gdb.Command):
    """cede bt ID, or cede bt RUN.ID: prints the backtrace of a suspended task."""

    def __init__(self):
        super().__init__("cede bt", gdb.COMMAND_STACK)

    def invoke(self, argument, tty):
        layout, runs = layout_of_program()
        run, _, number = argument.strip().rpartition(".")
        if not re.fullmatch(r"\d+(@\d+)?", number) or (run and not run.isdigit()):
            raise gdb.GdbError("no task number: use `cede bt ID` with a number from `cede tasks`")
        if not layout["native"]:
            raise gdb.GdbError("the program was built with the portable switch, whose tasks cannot be unwound")
        chosen = runs[int(run) - 1:int(run)] if run else runs
        for worker, table in chosen:
            for task in tasks_of(layout, worker, table):
                if task.number != number:
                    continue
                if not task.is_suspended():
                    raise gdb.GdbError("task %s is %s, so it has no suspended stack: use `bt` in its thread"
                                       % (number, task.state()))
                print("\n".join(backtrace(task.context)))
                return
        raise gdb.GdbError("there is no task %s: use a number from `cede tasks`" % argument)


Cede()
CedeTasks()
CedeBt()
