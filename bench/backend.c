/* A backend far faster than any proxy: one epoll loop that speaks just enough of the OpenAI API over HTTP/1.1.

   usage: backend [PORT]      (0 or none: any free port; the first line of output is {"port": N})
   It listens on the next three ports too, so that it can be taken for four backends.

   POST /v1/chat/completions answers at once with a fixed JSON, or, with "stream":true, with chunks that each carry
   the clock. The pace stands in the text of the prompt, which every proxy passes on: "interval_us=N tokens=N". */
#define _GNU_SOURCE
#include "common.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { PORTS = 4, TRIES = 100 };
enum { INPUT_MAX = 64 * 1024, OUTPUT_MAX = 1024 * 1024, EVENTS_MAX = 512, IDLE = -1 };

struct conn {
    int fd;
    bool wants_output; /* EPOLLOUT is asked for */
    char *in;
    size_t in_len;
    char *out; /* what the socket did not take yet */
    size_t out_len, out_cap;
    uint64_t due_ns, interval_ns; /* of the next chunk */
    long sent, tokens;
    int heap_at; /* index in the heap of due streams, or IDLE */
    struct conn *next_dead;
};

static int poller, listeners[PORTS], alarm_clock;
static struct conn **heap; /* the streams, the one due first at the top */
static int heap_len, heap_cap;
static struct conn *dead; /* freed only after a round of events, which may still name them */

/* -- the heap of due streams ------------------------------------------------------------------------------- */

static void heap_put(int at, struct conn *conn) {
    heap[at] = conn;
    conn->heap_at = at;
}

static void heap_up(int at) {
    struct conn *conn = heap[at];
    while (at > 0 && heap[(at - 1) / 2]->due_ns > conn->due_ns) {
        heap_put(at, heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_put(at, conn);
}

static void heap_down(int at) {
    struct conn *conn = heap[at];
    for (;;) {
        int child = 2 * at + 1;
        if (child + 1 < heap_len && heap[child + 1]->due_ns < heap[child]->due_ns) {
            child++;
        }
        if (child >= heap_len || heap[child]->due_ns >= conn->due_ns) {
            break;
        }
        heap_put(at, heap[child]);
        at = child;
    }
    heap_put(at, conn);
}

static void heap_add(struct conn *conn) {
    if (heap_len == heap_cap) {
        heap_cap = heap_cap ? heap_cap * 2 : 256;
        heap = must(realloc(heap, (size_t)heap_cap * sizeof *heap));
    }
    heap_put(heap_len++, conn);
    heap_up(heap_len - 1);
}

static void heap_remove(struct conn *conn) {
    int at = conn->heap_at;
    if (at == IDLE) {
        return;
    }
    conn->heap_at = IDLE;
    struct conn *last = heap[--heap_len];
    if (last != conn) {
        heap_put(at, last);
        heap_up(at);
        heap_down(last->heap_at);
    }
}

/* -- connections ------------------------------------------------------------------------------------------- */

static void conn_close(struct conn *conn) {
    if (conn->fd < 0) {
        return;
    }
    heap_remove(conn);
    close(conn->fd);
    conn->fd = -1;
    conn->next_dead = dead;
    dead = conn;
}

static void bury_the_dead(void) {
    while (dead != NULL) {
        struct conn *conn = dead;
        dead = conn->next_dead;
        free(conn->in);
        free(conn->out);
        free(conn);
    }
}

static void want_output(struct conn *conn, bool wanted) {
    if (conn->wants_output == wanted) {
        return;
    }
    conn->wants_output = wanted;
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = conn};
    epoll_ctl(poller, EPOLL_CTL_MOD, conn->fd, &event);
}

/* Sends now what the socket takes; the rest waits for EPOLLOUT. A reader that is 1 MiB behind is cut off. */
static void conn_send(struct conn *conn, const char *bytes, size_t len) {
    if (conn->fd < 0) {
        return;
    }
    if (conn->out_len == 0) {
        ssize_t taken = send(conn->fd, bytes, len, MSG_NOSIGNAL);
        if (taken < 0 && errno != EAGAIN) {
            conn_close(conn);
            return;
        }
        size_t gone = taken < 0 ? 0 : (size_t)taken;
        bytes += gone;
        len -= gone;
    }
    if (len == 0) {
        return;
    }
    if (conn->out_len + len > OUTPUT_MAX) {
        conn_close(conn);
        return;
    }
    if (conn->out_len + len > conn->out_cap) {
        conn->out_cap = (conn->out_len + len) * 2;
        conn->out = must(realloc(conn->out, conn->out_cap));
    }
    memcpy(conn->out + conn->out_len, bytes, len);
    conn->out_len += len;
    want_output(conn, true);
}

static void conn_flush(struct conn *conn) {
    ssize_t taken = send(conn->fd, conn->out, conn->out_len, MSG_NOSIGNAL);
    if (taken < 0) {
        if (errno != EAGAIN) {
            conn_close(conn);
        }
        return;
    }
    conn->out_len -= (size_t)taken;
    memmove(conn->out, conn->out + taken, conn->out_len);
    if (conn->out_len == 0) {
        want_output(conn, false);
    }
}

static void accept_all(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct conn *conn = must(calloc(1, sizeof *conn));
        conn->fd = fd;
        conn->heap_at = IDLE;
        conn->in = must(malloc(INPUT_MAX + 1));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) {
            die("epoll_ctl");
        }
    }
}

/* -- answers ----------------------------------------------------------------------------------------------- */

#define CHUNK_HEAD "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench\","

static void answer(struct conn *conn, const char *status, const char *json) {
    char text[2048];
    int len = snprintf(text, sizeof text,
                       "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", status,
                       strlen(json), json);
    conn_send(conn, text, (size_t)len);
}

/* Appends one server-sent event, as one HTTP chunk, to `text`. */
static int put_event(char *text, size_t room, const char *json) {
    return snprintf(text, room, "%zx\r\ndata: %s\n\n\r\n", strlen(json) + 8, json);
}

static void send_chunk(struct conn *conn, const char *head) {
    char json[512], text[1024];
    snprintf(json, sizeof json,
             CHUNK_HEAD "\"choices\":[{\"index\":0,\"delta\":{%s\"content\":\"" MARKER "%0*llu%c \"},"
                        "\"finish_reason\":null}]}",
             conn->sent == 0 ? "\"role\":\"assistant\"," : "", MARKER_DIGITS, (unsigned long long)now_ns(), MARKER_END);
    int len = snprintf(text, sizeof text, "%s", head);
    len += put_event(text + len, sizeof text - (size_t)len, json);
    conn->sent++;
    conn_send(conn, text, (size_t)len);
}

static void finish_stream(struct conn *conn) {
    char json[512], text[1024];
    int len = put_event(text, sizeof text,
                        CHUNK_HEAD "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}");
    snprintf(json, sizeof json,
             CHUNK_HEAD "\"choices\":[],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":%ld,\"total_tokens\":%ld}}",
             conn->sent, conn->sent + 8);
    len += put_event(text + len, sizeof text - (size_t)len, json);
    len += put_event(text + len, sizeof text - (size_t)len, "[DONE]");
    len += snprintf(text + len, sizeof text - (size_t)len, "0\r\n\r\n");
    heap_remove(conn);
    conn_send(conn, text, (size_t)len);
}

static long number_after(const char *body, const char *name, long otherwise) {
    const char *at = strstr(body, name);
    return at == NULL ? otherwise : strtol(at + strlen(name), NULL, 10);
}

static void start_stream(struct conn *conn, const char *body) {
    long interval_us = number_after(body, "interval_us=", 10000);
    conn->tokens = number_after(body, "tokens=", 16);
    conn->sent = 0;
    conn->interval_ns = (uint64_t)(interval_us > 0 ? interval_us : 1) * 1000;
    conn->due_ns = now_ns() + conn->interval_ns;
    send_chunk(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n");
    if (conn->fd >= 0) {
        heap_add(conn);
    }
}

static void chat(struct conn *conn, const char *body) {
    if (strstr(body, "\"stream\":true") != NULL || strstr(body, "\"stream\": true") != NULL) {
        start_stream(conn, body);
        return;
    }
    answer(conn, "200 OK",
           "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"bench\","
           "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Four words of answer.\"},"
           "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":4,\"total_tokens\":12}}");
}

static void route(struct conn *conn, const char *head, const char *body) {
    char active[64];
    if (strncmp(head, "POST /v1/chat/completions ", 26) == 0) {
        chat(conn, body);
    } else if (strncmp(head, "GET /v1/models ", 15) == 0) {
        answer(conn, "200 OK",
               "{\"object\":\"list\",\"data\":[{\"id\":\"bench\",\"object\":\"model\",\"created\":1700000000,"
               "\"owned_by\":\"bench\"}]}");
    } else if (strncmp(head, "GET /health ", 12) == 0) {
        answer(conn, "200 OK", "{\"status\":\"ok\"}");
    } else if (strncmp(head, "GET /bench/active ", 18) == 0) {
        snprintf(active, sizeof active, "{\"streams\":%d}", heap_len);
        answer(conn, "200 OK", active);
    } else {
        answer(conn, "404 Not Found",
               "{\"error\":{\"message\":\"no such route\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":404}}");
    }
}

/* -- requests ---------------------------------------------------------------------------------------------- */

static long content_length(const char *head) {
    const char *at = strcasestr(head, "\r\ncontent-length:");
    return at == NULL ? 0 : strtol(at + 17, NULL, 10);
}

/* Answers every complete request that has come in, one after the other; a stream holds up those behind it. */
static void serve(struct conn *conn) {
    while (conn->fd >= 0 && conn->heap_at == IDLE && conn->in_len > 0) {
        char *end = memmem(conn->in, conn->in_len, "\r\n\r\n", 4);
        if (end == NULL) {
            return;
        }
        end[2] = '\0'; /* the head is a string now; its last line keeps "\r\n" */
        long body_len = content_length(conn->in);
        size_t whole = (size_t)(end + 4 - conn->in) + (size_t)(body_len < 0 ? 0 : body_len);
        if (whole > conn->in_len) {
            end[2] = '\r';
            return;
        }
        char *body = end + 4, after = conn->in[whole];
        conn->in[whole] = '\0';
        route(conn, conn->in, body);
        conn->in[whole] = after;
        conn->in_len -= whole;
        memmove(conn->in, conn->in + whole, conn->in_len);
    }
}

static void receive(struct conn *conn) {
    ssize_t got = recv(conn->fd, conn->in + conn->in_len, INPUT_MAX - conn->in_len, 0);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0) {
        conn_close(conn);
        return;
    }
    conn->in_len += (size_t)got;
    serve(conn);
    if (conn->in_len == INPUT_MAX) {
        conn_close(conn);
    }
}

/* -- the loop ---------------------------------------------------------------------------------------------- */

static void send_due_chunks(void) {
    uint64_t now = now_ns();
    while (heap_len > 0 && heap[0]->due_ns <= now) {
        struct conn *conn = heap[0];
        if (conn->sent >= conn->tokens) {
            finish_stream(conn);
            serve(conn);
            continue;
        }
        conn->due_ns += conn->interval_ns;
        if (conn->due_ns <= now) {
            conn->due_ns = now + conn->interval_ns;
        }
        heap_down(0);
        send_chunk(conn, "");
    }
}

static void set_alarm(void) {
    static uint64_t alarm_ns;
    uint64_t due_ns = heap_len > 0 ? heap[0]->due_ns : 0;
    if (due_ns == alarm_ns) {
        return;
    }
    alarm_ns = due_ns;
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(due_ns / 1000000000ull), .tv_nsec = (long)(due_ns % 1000000000ull)}};
    timerfd_settime(alarm_clock, TFD_TIMER_ABSTIME, &when, NULL);
}

static void watch(int fd, void *tag) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = tag};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) {
        die("epoll_ctl");
    }
}

static void handle(struct epoll_event *event) {
    struct conn *conn = event->data.ptr;
    uint64_t rings;
    int *listener = event->data.ptr;
    if (listener >= listeners && listener < listeners + PORTS) {
        accept_all(*listener);
    } else if (event->data.ptr == &alarm_clock) {
        if (read(alarm_clock, &rings, sizeof rings) < 0 && errno != EAGAIN) {
            die("timerfd");
        }
    } else {
        if (conn->fd >= 0 && (event->events & EPOLLOUT)) {
            conn_flush(conn);
        }
        if (conn->fd >= 0 && (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
            receive(conn);
        }
    }
}

/* On the port, or on any free one; the socket, or -1. */
static int listen_on(uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4096) < 0) {
        close(listener);
        return -1;
    }
    return listener;
}

static uint16_t port_of(int listener) {
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    getsockname(listener, (struct sockaddr *)&address, &len);
    return ntohs(address.sin_port);
}

/* Ports in a row, the first of which is this one, or any; the first one. */
static uint16_t listen_in_a_row(uint16_t wanted) {
    for (int turn = 0; turn < TRIES; turn++) {
        int at = 0;
        int next = wanted; /* past the last port there is none, and 0 would be any */
        while (at < PORTS && next <= UINT16_MAX && (listeners[at] = listen_on((uint16_t)next)) >= 0) {
            next = port_of(listeners[at++]) + 1;
        }
        if (at == PORTS) {
            return port_of(listeners[0]);
        }
        while (at > 0) {
            close(listeners[--at]);
        }
    }
    errno = errno == 0 ? EADDRNOTAVAIL : errno;
    die("listen");
    return 0;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    printf("{\"port\": %u}\n", listen_in_a_row((uint16_t)(argc > 1 ? atoi(argv[1]) : 0)));
    fflush(stdout);
    poller = epoll_create1(EPOLL_CLOEXEC);
    alarm_clock = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    for (int at = 0; at < PORTS; at++) {
        watch(listeners[at], &listeners[at]);
    }
    watch(alarm_clock, &alarm_clock);
    struct epoll_event events[EVENTS_MAX];
    for (;;) {
        int n = epoll_wait(poller, events, EVENTS_MAX, -1);
        for (int i = 0; i < n; i++) {
            handle(&events[i]);
        }
        send_due_chunks();
        set_alarm();
        bury_the_dead();
    }
}
