#include "cli/run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"

static void run_child(const char *command, struct pl_bytes subject, int in, int out)
{
    char name[4096];
    size_t len = subject.len < sizeof name - 1 ? subject.len : sizeof name - 1;
    memcpy(name, subject.data, len);
    name[len] = 0;
    (void)setenv("PARLEY_SUBJECT", name, 1);
    (void)signal(SIGPIPE, SIG_DFL);
    if (dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0)
        (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

/* Feeds the request and collects the answer at the same time, so that neither pipe fills up. */
static uint8_t *converse(int to, int from, struct pl_bytes request, size_t max, size_t *out_len)
{
    size_t len = 0, cap = 4096;
    uint8_t *answer = pl_alloc(cap);
    while (answer) {
        struct pollfd fds[] = {{.fd = from, .events = POLLIN}, {.fd = to, .events = POLLOUT}};
        if (!request.len && to >= 0) {
            close(to);
            fds[1].fd = to = -1;
        }
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            break;
        if (to >= 0 && fds[1].revents) {
            ssize_t n = write(to, request.data, request.len);
            if (n < 0 && errno != EAGAIN && errno != EINTR)
                request.len = 0; /* it does not want more */
            else if (n > 0)
                request = pl_bytes_from(request, (size_t)n);
        }
        if (!fds[0].revents)
            continue;
        ssize_t n = read(from, answer + len, cap - len);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (n <= 0 || len + (size_t)n > max)
            break;
        len += (size_t)n;
        if (len == cap) {
            uint8_t *bigger = pl_realloc(answer, cap *= 2);
            if (!bigger)
                pl_free(answer);
            answer = bigger;
        }
    }
    if (to >= 0)
        close(to);
    *out_len = len;
    return answer;
}

uint8_t *pl_cli_run_command(const char *command, struct pl_bytes subject, struct pl_bytes request,
    size_t max, size_t *out_len)
{
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC))
        return NULL;
    if (pipe2(out, O_CLOEXEC)) {
        close(in[0]);
        close(in[1]);
        return NULL;
    }
    pid_t child = fork();
    if (child == 0)
        run_child(command, subject, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    (void)fcntl(in[1], F_SETFL, O_NONBLOCK);
    uint8_t *answer = NULL;
    if (child > 0)
        answer = converse(in[1], out[0], request, max, out_len);
    else
        close(in[1]);
    close(out[0]);
    int status = 1;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    if (status) {
        pl_free(answer);
        answer = NULL;
    }
    return answer;
}
