// An echo server of bare system calls: one loop over edge-triggered epoll, and one buffer for all connections. A short read ends
// the turn of a connection without the read that would fail, unless the peer has closed. A send that does not fit is repeated,
// so a peer that never reads stops the server.
#define _GNU_SOURCE
#include "echo.h"
#include <sys/epoll.h>

static char buffer[BUFFER];

static void accept_all(int poller, int listener) {
  int connection;
  while ((connection = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = connection};
    send_at_once(connection);
    if (epoll_ctl(poller, EPOLL_CTL_ADD, connection, &event))
      close(connection);
  }
}

static int send_all(int connection, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t sent = send(connection, bytes, length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR)
      return -1;
    if (sent > 0) {
      bytes += sent;
      length -= (size_t)sent;
    }
  }
  return 0;
}

static void answer(int connection, int peer_has_closed) {
  for (;;) {
    ssize_t length = recv(connection, buffer, BUFFER, 0);
    if (length < 0 && errno == EINTR)
      continue;
    if (length < 0 && errno == EAGAIN)
      return;
    if (length <= 0 || send_all(connection, buffer, (size_t)length)) {
      close(connection);
      return;
    }
    if (length < BUFFER && !peer_has_closed)
      return;
  }
}

int main(void) {
  static struct epoll_event events[1024];
  int listener = listen_on_free_port(SOCK_NONBLOCK | SOCK_CLOEXEC), poller = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
  if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event))
    fail("epoll", errno);
  for (;;) {
    int count = epoll_wait(poller, events, 1024, -1);
    for (int k = 0; k < count; k++) {
      if (events[k].data.fd == listener)
        accept_all(poller, listener);
      else
        answer(events[k].data.fd, (events[k].events & EPOLLRDHUP) != 0);
    }
  }
}
