// An echo server of bare io_uring: one-shot receives into a buffer for each connection, sends by the ring, and one system call
// for each batch. The ring completes operations inside that call only (IORING_SETUP_DEFER_TASKRUN, from Linux 6.1 on).
#define _GNU_SOURCE
#include "echo.h"
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum { ENTRIES = 2048, COMPLETIONS = 8192, CONNECTIONS = 65536 };
// The operation of an entry, in the upper half of its user data. The lower half is the connection.
enum operation { ACCEPT, RECEIVE, SEND };

static struct {
  int fd;
  // Written by the kernel, which has read the submissions up to `head`, and completed up to `completed`.
  _Atomic uint32_t *head, *completed;
  _Atomic uint32_t *tail, *taken;
  uint32_t mask, completion_mask, unsubmitted;
  struct io_uring_sqe *submissions;
  struct io_uring_cqe *completions;
} ring;

static char *buffers[CONNECTIONS];

static int enter(uint32_t wait_for) {
  unsigned flags = wait_for > 0 ? IORING_ENTER_GETEVENTS : 0;
  int submitted = (int)syscall(SYS_io_uring_enter, ring.fd, ring.unsubmitted, wait_for, flags, NULL, 0);
  if (submitted > 0)
    ring.unsubmitted -= (uint32_t)submitted;
  return submitted;
}

static void *map(size_t length, off_t offset) {
  void *place = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, offset);
  if (place == MAP_FAILED)
    fail("mmap", errno);
  return place;
}

static void set_up(void) {
  struct io_uring_params setup = {
      .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
      .cq_entries = COMPLETIONS,
  };
  ring.fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &setup);
  if (ring.fd < 0)
    fail("io_uring_setup", errno);
  if (!(setup.features & IORING_FEAT_SINGLE_MMAP))
    fail("io_uring_setup", ENOSYS);
  size_t length = setup.cq_off.cqes + setup.cq_entries * sizeof(struct io_uring_cqe);
  size_t other = setup.sq_off.array + setup.sq_entries * sizeof(uint32_t);
  char *rings = map(length > other ? length : other, IORING_OFF_SQ_RING);
  ring.submissions = map(setup.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
  ring.head = (_Atomic uint32_t *)(rings + setup.sq_off.head);
  ring.tail = (_Atomic uint32_t *)(rings + setup.sq_off.tail);
  ring.mask = *(uint32_t *)(rings + setup.sq_off.ring_mask);
  ring.taken = (_Atomic uint32_t *)(rings + setup.cq_off.head);
  ring.completed = (_Atomic uint32_t *)(rings + setup.cq_off.tail);
  ring.completion_mask = *(uint32_t *)(rings + setup.cq_off.ring_mask);
  ring.completions = (struct io_uring_cqe *)(rings + setup.cq_off.cqes);
  // Entry k of the array always names submission k, so that it is written only once.
  for (uint32_t k = 0; k < setup.sq_entries; k++)
    ((uint32_t *)(rings + setup.sq_off.array))[k] = k;
}

static void push(enum operation operation, int fd, void *bytes, uint32_t length) {
  uint32_t tail = atomic_load_explicit(ring.tail, memory_order_relaxed);
  while (tail - atomic_load_explicit(ring.head, memory_order_acquire) > ring.mask)
    enter(0);
  struct io_uring_sqe *entry = &ring.submissions[tail & ring.mask];
  memset(entry, 0, sizeof *entry);
  entry->fd = fd;
  entry->addr = (uintptr_t)bytes;
  entry->len = length;
  entry->user_data = (uint64_t)operation << 32 | (uint32_t)fd;
  switch (operation) {
  case ACCEPT:
    entry->opcode = IORING_OP_ACCEPT;
    entry->ioprio = IORING_ACCEPT_MULTISHOT;
    break;
  case RECEIVE:
    // After an answer, the next request has not come yet: waits without the receive that would fail.
    entry->opcode = IORING_OP_RECV;
    entry->ioprio = IORING_RECVSEND_POLL_FIRST;
    break;
  case SEND:
    entry->opcode = IORING_OP_SEND;
    entry->msg_flags = MSG_WAITALL | MSG_NOSIGNAL;
    break;
  }
  ring.unsubmitted++;
  atomic_store_explicit(ring.tail, tail + 1, memory_order_release);
}

static void receive(int connection) { push(RECEIVE, connection, buffers[connection], BUFFER); }

static void accepted(int listener, int connection, uint32_t flags) {
  if (connection >= CONNECTIONS) {
    close(connection);
  } else if (connection >= 0) {
    send_at_once(connection);
    if (!buffers[connection])
      buffers[connection] = malloc(BUFFER);
    receive(connection);
  }
  if (!(flags & IORING_CQE_F_MORE))
    push(ACCEPT, listener, NULL, 0);
}

static void complete(int listener, const struct io_uring_cqe *entry) {
  int connection = (int)(uint32_t)entry->user_data;
  switch ((enum operation)(entry->user_data >> 32)) {
  case ACCEPT:
    accepted(listener, entry->res, entry->flags);
    break;
  case RECEIVE:
    if (entry->res > 0)
      push(SEND, connection, buffers[connection], (uint32_t)entry->res);
    else
      close(connection);
    break;
  case SEND:
    if (entry->res > 0)
      receive(connection);
    else
      close(connection);
    break;
  }
}

int main(void) {
  set_up();
  int listener = listen_on_free_port(SOCK_CLOEXEC);
  push(ACCEPT, listener, NULL, 0);
  for (;;) {
    if (enter(1) < 0 && errno != EINTR && errno != EAGAIN && errno != EBUSY)
      fail("io_uring_enter", errno);
    uint32_t taken = atomic_load_explicit(ring.taken, memory_order_relaxed);
    uint32_t completed = atomic_load_explicit(ring.completed, memory_order_acquire);
    for (; taken != completed; taken++)
      complete(listener, &ring.completions[taken & ring.completion_mask]);
    atomic_store_explicit(ring.taken, taken, memory_order_release);
  }
}
