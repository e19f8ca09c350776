/* What the pods of test_embedded_node.py do: say | hog | serve PORT | call ADDRESS PORT. Its last word is the termination message. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void last_word(const char *text) {
  FILE *file = fopen("/dev/termination-log", "w");
  if (file) { fputs(text, file); fclose(file); }
}

static struct sockaddr_in address_of(const char *host, const char *port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  inet_pton(AF_INET, host, &address.sin_addr);
  return address;
}

static int serve(const char *port) {
  struct sockaddr_in address = address_of("0.0.0.0", port);
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 16)) return 1;
  for (;;) {
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    char request[4096];
    int caller = accept(listener, NULL, NULL);
    if (read(caller, request, sizeof request) > 0 && write(caller, answer, sizeof answer - 1) < 0) return 1;
    close(caller);
  }
}

static int call(const char *host, const char *port) {
  struct sockaddr_in address = address_of(host, port);
  struct timeval limit = {.tv_sec = 3};
  int caller = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(caller, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  last_word(connect(caller, (struct sockaddr *)&address, sizeof address) ? strerror(errno) : "reached");
  return 0;
}

int main(int count, char **words) {
  if (count == 2 && !strcmp(words[1], "say")) { last_word("done"); return 0; }
  if (count == 2 && !strcmp(words[1], "hog")) { for (;;) memset(malloc(1 << 20), 1, 1 << 20); }
  if (count == 3 && !strcmp(words[1], "serve")) return serve(words[2]);
  if (count == 4 && !strcmp(words[1], "call")) return call(words[2], words[3]);
  return 64;
}
