/* The load: one epoll loop that asks for chat completions over HTTP/1.1 and measures what comes back.

   usage: load closed  PORT CONNECTIONS WARM_MS MEASURE_MS      each connection asks again as soon as it is answered
          load ttft    PORT REQUESTS GAP_US                     one stream at a time: how soon its first chunk is here
          load streams PORT STREAMS INTERVAL_US RAMP_MS OPEN_MS MEASURE_MS
                                                                paced streams: how late each chunk is
          load sockets PORT STREAMS INTERVAL_US RAMP_MS OPEN_MS MEASURE_MS
                                                                the same, each over a WebSocket at /v1/stream/ws
          load ollama  PORT STREAMS INTERVAL_US RAMP_MS OPEN_MS MEASURE_MS
                                                                the same, asked for in Ollama's words at /api/chat
   LOAD_HEADERS in the environment: more lines for the head of each request, each with its "\r\n".
   It prints one JSON object a line: {"event":"begin"} when the measurement begins, then the result. The last two
   keep their streams open until their standard input ends, so that memory can be read. */
#define _GNU_SOURCE
#include "common.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD_MAX = 16 * 1024, READ_MAX = 64 * 1024, EVENTS_MAX = 512, LATE_NS = 20 * 1000 * 1000 };
enum { PATIENCE_MS = 10000 }; /* for one answer, where nothing else is asked for */

static const uint64_t MS = 1000000; /* in nanoseconds */

enum phase { HEAD, COUNTED_BODY, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, MESSAGES, ANSWERED };

struct conn {
    int fd;
    enum phase phase;
    int status;
    char head[HEAD_MAX]; /* of the answer; while in chunks, the line of the chunk's size */
    size_t head_len;
    uint64_t body_left;
    char marker[MARKER_LEN + MARKER_DIGITS + 1]; /* of the chunk's clock, as far as it is here */
    size_t marker_len;
    uint64_t asked_ns, first_ns; /* first_ns: of the first timed chunk, or 0 */
    bool served; /* it has been answered before */
};

struct samples {
    uint64_t *ns;
    size_t len, cap;
};

static int poller;
static uint16_t port;
static char request[4096], message[1024]; /* message: what is asked for over a WebSocket, once that is open */
static size_t request_len, message_len;
static struct samples samples;
static bool measuring;
static unsigned long errors, reconnects, late;
static size_t opened; /* streams whose first chunk is here, or connections that were answered */

/* -- samples ----------------------------------------------------------------------------------------------- */

static void sample(uint64_t ns) {
    if (samples.len == samples.cap) {
        samples.cap = samples.cap ? samples.cap * 2 : 1 << 16;
        samples.ns = must(realloc(samples.ns, samples.cap * sizeof *samples.ns));
    }
    samples.ns[samples.len++] = ns;
}

static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* In milliseconds; the samples are sorted. NaN is no JSON, so nothing measured is null. */
static const char *quantile_ms(double q, char *text, size_t room) {
    if (samples.len == 0) {
        return "null";
    }
    size_t at = (size_t)(q * (double)(samples.len - 1) + 0.5);
    snprintf(text, room, "%.6f", (double)samples.ns[at] / 1e6);
    return text;
}

static void print_result(const char *mode, double measured_s) {
    char p50[32], p99[32], max[32];
    qsort(samples.ns, samples.len, sizeof *samples.ns, ascending);
    printf("{\"event\":\"result\",\"mode\":\"%s\",\"measured_s\":%.6f,\"samples\":%zu,\"p50_ms\":%s,\"p99_ms\":%s,"
           "\"max_ms\":%s,\"late\":%lu,\"open\":%zu,\"errors\":%lu,\"reconnects\":%lu}\n",
           mode, measured_s, samples.len, quantile_ms(0.5, p50, sizeof p50), quantile_ms(0.99, p99, sizeof p99),
           quantile_ms(1.0, max, sizeof max), late, opened, errors, reconnects);
    fflush(stdout);
}

static void begin(void) {
    samples.len = 0;
    late = 0;
    measuring = true;
    puts("{\"event\":\"begin\"}");
    fflush(stdout);
}

/* -- reading an answer ------------------------------------------------------------------------------------- */

static void chunk_arrived(struct conn *conn, uint64_t sent_ns, uint64_t now, bool timed) {
    if (conn->first_ns == 0) {
        conn->first_ns = now;
        opened++;
    }
    if (timed && measuring) {
        uint64_t delay_ns = now > sent_ns ? now - sent_ns : 0;
        late += delay_ns > LATE_NS;
        sample(delay_ns);
    }
}

/* Finds the marked clocks in the body, however it is cut into reads. */
static void scan_body(struct conn *conn, const char *bytes, size_t len, uint64_t now, bool timed) {
    for (size_t i = 0; i < len; i++) {
        if (conn->marker_len == 0) {
            const char *at = memchr(bytes + i, MARKER[0], len - i);
            if (at == NULL) {
                return;
            }
            i = (size_t)(at - bytes);
        }
        if (conn->marker_len < MARKER_LEN) {
            conn->marker_len = bytes[i] == MARKER[conn->marker_len] ? conn->marker_len + 1 : (bytes[i] == MARKER[0]);
        } else if (bytes[i] >= '0' && bytes[i] <= '9' && conn->marker_len < MARKER_LEN + MARKER_DIGITS) {
            conn->marker[conn->marker_len++] = bytes[i];
        } else {
            if (bytes[i] == MARKER_END && conn->marker_len == MARKER_LEN + MARKER_DIGITS) {
                conn->marker[conn->marker_len] = '\0';
                chunk_arrived(conn, strtoull(conn->marker + MARKER_LEN, NULL, 10), now, timed);
            }
            conn->marker_len = 0;
        }
    }
}

/* Collects bytes until `end`; how many were taken. True in *whole when the text is complete (and a string). */
static size_t collect(struct conn *conn, const char *bytes, size_t len, const char *end, bool *whole) {
    size_t end_len = strlen(end), taken = 0;
    *whole = false;
    while (taken < len && !*whole && conn->head_len < HEAD_MAX - 1) {
        conn->head[conn->head_len++] = bytes[taken++];
        *whole = conn->head_len >= end_len && memcmp(conn->head + conn->head_len - end_len, end, end_len) == 0;
    }
    if (!*whole && conn->head_len == HEAD_MAX - 1) {
        fprintf(stderr, "an answer's head is too long\n");
        exit(1);
    }
    if (*whole) {
        conn->head[conn->head_len] = '\0';
        conn->head_len = 0;
    }
    return taken;
}

static void head_arrived(struct conn *conn) {
    conn->status = atoi(conn->head + strcspn(conn->head, " "));
    const char *length = strcasestr(conn->head, "\r\ncontent-length:");
    const char *coding = strcasestr(conn->head, "\r\ntransfer-encoding:");
    if (conn->status == 101) {
        conn->phase = MESSAGES;
        if (send(conn->fd, message, message_len, MSG_NOSIGNAL) != (ssize_t)message_len) {
            conn->phase = ANSWERED;
        }
    } else if (coding != NULL) {
        conn->phase = CHUNK_SIZE;
    } else if (length != NULL) {
        conn->body_left = strtoull(length + 17, NULL, 10);
        conn->phase = conn->body_left > 0 ? COUNTED_BODY : ANSWERED;
    } else {
        fprintf(stderr, "an answer has no length: %s\n", conn->head);
        exit(1);
    }
}

static size_t take_line(struct conn *conn, const char *bytes, size_t len) {
    bool whole;
    size_t taken = collect(conn, bytes, len, conn->phase == HEAD ? "\r\n\r\n" : "\r\n", &whole);
    if (!whole) {
        return taken;
    }
    if (conn->phase == HEAD) {
        head_arrived(conn);
    } else if (conn->phase == CHUNK_SIZE) {
        conn->body_left = strtoull(conn->head, NULL, 16);
        conn->phase = conn->body_left > 0 ? CHUNK_DATA : TRAILER;
    } else if (conn->phase == CHUNK_END) {
        conn->phase = CHUNK_SIZE;
    } else if (strcmp(conn->head, "\r\n") == 0) {
        conn->phase = ANSWERED;
    }
    return taken;
}

static size_t take_body(struct conn *conn, const char *bytes, size_t len, uint64_t now, bool timed) {
    size_t taken = len < conn->body_left ? len : (size_t)conn->body_left;
    scan_body(conn, bytes, taken, now, timed);
    conn->body_left -= taken;
    if (conn->body_left == 0) {
        conn->phase = conn->phase == COUNTED_BODY ? ANSWERED : CHUNK_END;
    }
    return taken;
}

static void take(struct conn *conn, const char *bytes, size_t len, bool timed) {
    uint64_t now = now_ns();
    while (len > 0 && conn->phase != ANSWERED) {
        if (conn->phase == MESSAGES) { /* to the end of the connection; each clock stands within one message */
            scan_body(conn, bytes, len, now, timed);
            return;
        }
        bool body = conn->phase == COUNTED_BODY || conn->phase == CHUNK_DATA;
        size_t taken = body ? take_body(conn, bytes, len, now, timed) : take_line(conn, bytes, len);
        bytes += taken;
        len -= taken;
    }
}

/* -- asking ------------------------------------------------------------------------------------------------ */

static void write_post(const char *path, const char *body) {
    const char *more = getenv("LOAD_HEADERS");
    request_len = (size_t)snprintf(request, sizeof request,
                                   "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n%s"
                                   "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                                   path, port, more == NULL ? "" : more, strlen(body), body);
    if (request_len >= sizeof request) {
        fprintf(stderr, "LOAD_HEADERS is too long\n");
        exit(2);
    }
}

static void write_request(bool stream, unsigned long interval_us, unsigned long tokens) {
    char body[1024];
    snprintf(body, sizeof body,
             "{\"model\":\"bench\",\"messages\":[{\"role\":\"system\",\"content\":\"You answer in few words.\"},"
             "{\"role\":\"user\",\"content\":\"Why is the sky blue? interval_us=%lu tokens=%lu\"}],"
             "\"temperature\":0.7,\"stream\":%s}",
             interval_us, tokens, stream ? "true" : "false");
    write_post("/v1/chat/completions", body);
}

static void write_ollama(unsigned long interval_us, unsigned long tokens) {
    char body[1024];
    snprintf(body, sizeof body,
             "{\"model\":\"bench\",\"messages\":[{\"role\":\"system\",\"content\":\"You answer in few words.\"},"
             "{\"role\":\"user\",\"content\":\"Why is the sky blue? interval_us=%lu tokens=%lu\"}],"
             "\"options\":{\"temperature\":0.7}}",
             interval_us, tokens);
    write_post("/api/chat", body);
}

static void write_stream(unsigned long interval_us, unsigned long tokens) {
    write_request(true, interval_us, tokens);
}

/* The opening handshake, and the request as one masked text frame, whose mask of zeros changes nothing. */
static void write_message(unsigned long interval_us, unsigned long tokens) {
    char text[512];
    int len = snprintf(text, sizeof text,
                       "{\"request_id\":\"bench\",\"model\":\"bench\",\"messages\":[{\"role\":\"system\",\"content\":"
                       "\"You answer in few words.\"},{\"role\":\"user\",\"content\":\"Why is the sky blue? "
                       "interval_us=%lu tokens=%lu\"}],\"options\":{\"temperature\":0.7}}",
                       interval_us, tokens);
    char head[8] = {(char)0x81, (char)(0x80 | 126), (char)(len >> 8), (char)len};
    memcpy(message, head, sizeof head);
    memcpy(message + sizeof head, text, (size_t)len);
    message_len = sizeof head + (size_t)len;
    request_len = (size_t)snprintf(request, sizeof request,
                                   "GET /v1/stream/ws HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUpgrade: websocket\r\n"
                                   "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                   "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
                                   port);
}

static void open_conn(struct conn *conn) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (conn->fd < 0 || connect(conn->fd, (struct sockaddr *)&address, sizeof address) < 0) {
        die("connect");
    }
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(conn->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, conn->fd, &event) < 0) {
        die("epoll_ctl");
    }
}

static void ask(struct conn *conn) {
    conn->phase = HEAD;
    conn->head_len = conn->marker_len = 0;
    conn->first_ns = 0;
    conn->asked_ns = now_ns();
    if (send(conn->fd, request, request_len, MSG_NOSIGNAL) != (ssize_t)request_len) {
        conn->phase = ANSWERED;
        conn->status = 0; /* the server closed the connection: receive() sees it next */
    }
}

static void reopen(struct conn *conn) {
    close(conn->fd);
    reconnects++;
    open_conn(conn);
}

/* Reads what is here. True when an answer is complete, or will never be: then the status is 0. */
static bool receive(struct conn *conn, bool timed) {
    static char bytes[READ_MAX];
    ssize_t got = recv(conn->fd, bytes, sizeof bytes, 0);
    if (got < 0 && errno == EAGAIN) {
        return false;
    }
    if (got <= 0) {
        conn->status = 0;
        conn->phase = ANSWERED;
        reopen(conn);
        return true;
    }
    take(conn, bytes, (size_t)got, timed);
    return conn->phase == ANSWERED;
}

/* -- the ways of asking ------------------------------------------------------------------------------------ */

/* Counts an answer of the closed loop, if one is complete, and asks again. */
static void closed_turn(struct conn *conn) {
    if (!receive(conn, false)) {
        return;
    }
    if (conn->status != 200) {
        errors++;
    } else if (measuring) {
        sample(now_ns() - conn->asked_ns);
    }
    opened += !conn->served;
    conn->served = true;
    ask(conn);
}

/* The measurement begins when every connection has been answered once: some servers accept slowly under load. */
static void closed_loop(int connections, uint64_t warm_ns, uint64_t measure_ns) {
    struct conn *conns = must(calloc((size_t)connections, sizeof *conns));
    struct epoll_event events[EVENTS_MAX];
    write_request(false, 0, 0);
    for (int i = 0; i < connections; i++) {
        open_conn(&conns[i]);
        ask(&conns[i]);
    }
    uint64_t start_ns = now_ns(), begin_ns = 0, now = start_ns;
    while (!measuring || now < begin_ns + measure_ns) {
        bool all_served = opened == (size_t)connections && now >= start_ns + warm_ns;
        if (!measuring && (all_served || now >= start_ns + (uint64_t)PATIENCE_MS * MS)) {
            begin_ns = now;
            begin();
        }
        int n = epoll_wait(poller, events, EVENTS_MAX, 10);
        for (int i = 0; i < n; i++) {
            closed_turn(events[i].data.ptr);
        }
        now = now_ns();
    }
    print_result("closed", (double)(now - begin_ns) / 1e9);
}

/* Waits for one whole answer; false when none came. */
static bool answered(struct conn *conn) {
    struct epoll_event event;
    uint64_t deadline_ns = now_ns() + (uint64_t)PATIENCE_MS * MS;
    while (now_ns() < deadline_ns) {
        if (epoll_wait(poller, &event, 1, PATIENCE_MS) == 1 && receive(conn, false)) {
            return conn->status == 200 && conn->first_ns != 0;
        }
    }
    reopen(conn);
    return false;
}

static void one_at_a_time(int requests, unsigned gap_us) {
    enum { WARM = 20 };
    struct conn *conn = must(calloc(1, sizeof *conn));
    uint64_t begin_ns = now_ns();
    write_request(true, 1000, 2);
    open_conn(conn);
    for (int i = 0; i < WARM + requests; i++) {
        if (i == WARM) {
            begin();
            begin_ns = now_ns();
        }
        usleep(gap_us);
        ask(conn);
        if (!answered(conn)) {
            errors++;
        } else {
            sample(conn->first_ns - conn->asked_ns);
        }
    }
    print_result("ttft", (double)(now_ns() - begin_ns) / 1e9);
}

typedef void write_fn(unsigned long interval_us, unsigned long tokens);

struct pace {
    const char *mode;
    write_fn *write;
    int streams;
    unsigned long interval_us;
    uint64_t ramp_ns, open_ns, measure_ns;
};

/* Opens the streams evenly over the ramp, so that their chunks do not come in step. */
static int open_due(struct conn *conns, int asked, const struct pace *pace, uint64_t since_ns) {
    while (asked < pace->streams && since_ns >= pace->ramp_ns / (uint64_t)pace->streams * (uint64_t)asked) {
        open_conn(&conns[asked]);
        ask(&conns[asked]);
        asked++;
    }
    return asked;
}

static void paced_streams(struct pace pace) {
    struct conn *conns = must(calloc((size_t)pace.streams, sizeof *conns));
    struct epoll_event events[EVENTS_MAX];
    uint64_t life_us = (pace.ramp_ns + pace.open_ns + pace.measure_ns) / 1000 + 5000000;
    pace.write(pace.interval_us, life_us / pace.interval_us);
    uint64_t start_ns = now_ns(), begin_ns = 0, now;
    int asked = 0;
    while (!measuring || now_ns() < begin_ns + pace.measure_ns) {
        now = now_ns();
        asked = open_due(conns, asked, &pace, now - start_ns);
        bool all_here = opened >= (size_t)pace.streams && now >= start_ns + pace.ramp_ns;
        if (!measuring && (all_here || now >= start_ns + pace.ramp_ns + pace.open_ns)) {
            begin_ns = now;
            begin();
        }
        int n = epoll_wait(poller, events, EVENTS_MAX, asked < pace.streams ? 1 : 10);
        for (int i = 0; i < n; i++) {
            struct conn *conn = events[i].data.ptr;
            if (receive(conn, true)) {
                errors++; /* a stream lives longer than the measurement: one that ended broke */
                epoll_ctl(poller, EPOLL_CTL_DEL, conn->fd, NULL);
            }
        }
    }
    print_result(pace.mode, (double)(now_ns() - begin_ns) / 1e9);
    while (getchar() != EOF) {
    }
}

/* ---------------------------------------------------------------------------------------------------------- */

/* How the streams of a way of asking are asked for; NULL: it has none. */
static write_fn *writer_of(const char *mode) {
    return strcmp(mode, "streams") == 0   ? write_stream
           : strcmp(mode, "sockets") == 0 ? write_message
           : strcmp(mode, "ollama") == 0  ? write_ollama
                                          : NULL;
}

static unsigned long number(const char *text) {
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*text == '\0' || *end != '\0') {
        fprintf(stderr, "not a number: %s\n", text);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv) {
    unsigned long n[8] = {0};
    for (int i = 2; i < argc && i < 10; i++) {
        n[i - 2] = number(argv[i]);
    }
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    poller = epoll_create1(EPOLL_CLOEXEC);
    port = (uint16_t)n[0];
    if (argc == 6 && strcmp(argv[1], "closed") == 0) {
        closed_loop((int)n[1], n[2] * MS, n[3] * MS);
    } else if (argc == 5 && strcmp(argv[1], "ttft") == 0) {
        one_at_a_time((int)n[1], (unsigned)n[2]);
    } else if (argc == 8 && writer_of(argv[1]) != NULL) {
        paced_streams((struct pace){argv[1], writer_of(argv[1]), (int)n[1], n[2], n[3] * MS, n[4] * MS, n[5] * MS});
    } else {
        fprintf(stderr, "usage: load closed PORT CONNECTIONS WARM_MS MEASURE_MS\n"
                        "       load ttft PORT REQUESTS GAP_US\n"
                        "       load streams|sockets|ollama PORT STREAMS INTERVAL_US RAMP_MS OPEN_MS MEASURE_MS\n");
        return 2;
    }
    return 0;
}
