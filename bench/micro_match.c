/*
 * What matching costs: 99,900 filters of the shape of `site.12.dev.34.temp`, most of them literal,
 * and random subjects with about four matches. CPU time of this thread; medians of five runs.
 *
 *     ninja -C build/release bench/micro_match && build/release/bench/micro_match
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/hash.h"
#include "core/match.h"
#include "core/session.h"

enum {
    SITES = 300,
    SUBJECTS = SITES * SITES,
    FILTERS_MAX = 110000,
    MATCHES = 400 * 1024,
    RUNS = 5,
    BATCH = 256
};

static struct pl_session_ops ops;
static struct pl_session session = {.ops = &ops};
static struct pl_subscription *subs[FILTERS_MAX];
static uint32_t count;
static char subjects[SUBJECTS][40];
static size_t lens[SUBJECTS];

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void die(const char *why)
{
    fprintf(stderr, "micro_match: %s\n", why);
    exit(1);
}

static void prepare(const char *text)
{
    struct pl_subscription *s = calloc(1, sizeof *s);
    if (!s || pl_pattern_parse(pl_bytes_text(text), &s->pattern))
        die("no memory");
    s->session = &session;
    s->form = 1;
    subs[count++] = s;
}

static void prepare_filters(void)
{
    char text[64];
    for (int i = 0; i < SUBJECTS; i++)
        prepare(subjects[i]);
    for (int i = 0; i < SITES; i++) {
        snprintf(text, sizeof text, "site.*.dev.%d.temp", i);
        prepare(text);
        snprintf(text, sizeof text, "site.%d.>", i);
        prepare(text);
        snprintf(text, sizeof text, "site.%d.dev.*.temp", i);
        prepare(text);
        for (int j = 0; j < 30; j++) {
            snprintf(text, sizeof text, "*.%d.dev.%d.*", i, j);
            prepare(text);
        }
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void tell(const char *what, double *runs)
{
    qsort(runs, RUNS, sizeof *runs, compare);
    printf("%-58s %7.0f ns\n", what, runs[RUNS / 2]);
}

/* among: so many subjects are asked for; touched: no answer is ever found in the cache. */
static void match(struct pl_matcher *m, const char *what, uint32_t among, bool touched)
{
    struct pl_random random = pl_random_seeded(7);
    double runs[RUNS] = {0};
    uint64_t receivers = 0;
    /* A subject that was just read is near; so ours are copied together before the clock runs. */
    static char near[BATCH][sizeof *subjects];
    struct pl_bytes names[BATCH];
    for (int i = 0; i < RUNS * MATCHES; i += BATCH) {
        for (int j = 0; j < BATCH; j++) {
            uint32_t n = pl_random_below(&random, among);
            memcpy(near[j], subjects[n], lens[n]);
            names[j] = pl_bytes_of(near[j], lens[n]);
        }
        double begin = cpu_ns();
        for (int j = 0; j < BATCH; j++) {
            if (touched)
                pl_matcher_touch(m);
            struct pl_match *found = pl_matcher_match(m, names[j], false);
            if (!found)
                die("no memory");
            receivers += found->receivers;
        }
        runs[i / MATCHES] += (cpu_ns() - begin) / MATCHES;
    }
    char text[96];
    snprintf(text, sizeof text, "%s, %.2f matches", what, (double)receivers / RUNS / MATCHES);
    tell(text, runs);
}

static struct pl_matcher *load(const char *what, bool tells)
{
    struct pl_matcher *m = NULL;
    double runs[RUNS], removed[RUNS];
    for (int run = 0; run < RUNS; run++) {
        m = pl_matcher_new(12345, 1 << 15);
        if (!m)
            die("no memory");
        double begin = cpu_ns();
        for (uint32_t i = 0; i < count; i++)
            if (pl_matcher_add(m, subs[i]))
                die("no memory");
        runs[run] = (cpu_ns() - begin) / count;
        if (run + 1 == RUNS)
            break;
        begin = cpu_ns();
        for (uint32_t i = 0; i < count; i++)
            pl_matcher_remove(m, subs[i]);
        removed[run] = (cpu_ns() - begin) / count;
        pl_matcher_free(m);
    }
    removed[RUNS - 1] = removed[0];
    if (tells) {
        tell(what, runs);
        tell("remove", removed);
    }
    return m;
}

int main(void)
{
    for (int i = 0; i < SUBJECTS; i++)
        lens[i] = (size_t)snprintf(
            subjects[i], sizeof subjects[i], "site.%d.dev.%d.temp", i / SITES, i % SITES);
    size_t before = mallinfo2().uordblks;
    prepare_filters();
    size_t patterns = mallinfo2().uordblks - before;
    struct pl_matcher *m = load("add", true);
    printf("%-58s %7.0f bytes\n", "memory per filter: subscription and pattern",
        (double)patterns / count);
    struct mallinfo2 info = mallinfo2();
    printf("%-58s %7.0f bytes\n", "memory per filter: matcher, its cache aside",
        (double)(info.uordblks + info.hblkhd - before - patterns - (1 << 15) * 16) / count);
    match(m, "random of 90,000 subjects, nothing cached", SUBJECTS, true);
    match(m, "random of 90,000 subjects", SUBJECTS, false);
    match(m, "random of 20,000 subjects", 20000, false);
    match(m, "random of 64 subjects", 64, false);
    match(m, "random of 64 subjects, nothing cached", 64, true);
    pl_matcher_free(m);
    return 0;
}
