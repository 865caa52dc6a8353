// The listener of an echo server in C. See src/serve.rs for the protocol.
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// The bytes of a buffer.
enum { BUFFER = 16 * 1024 };

static void fail(const char *what, int error) {
  printf("error %s: %s\n", what, strerror(error));
  fflush(stdout);
  exit(1);
}

// Listens on a free port of 127.0.0.1, and tells the parent. `flags` are those of socket(2).
static int listen_on_free_port(int flags) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM | flags, 0);
  if (listener < 0 || bind(listener, (void *)&address, length) || listen(listener, 4096) ||
      getsockname(listener, (void *)&address, &length))
    fail("listen", errno);
  printf("ready\nport %d\n", ntohs(address.sin_port));
  fflush(stdout);
  return listener;
}

static void send_at_once(int connection) {
  int one = 1;
  setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}
