/*
 * What WAMP messages cost: a PUBLISH of about 220 bytes decoded, an EVENT encoded from it in the
 * same serializer and in the others. CPU time of this thread; medians of five runs.
 *
 *     ninja -C build/release bench/micro_wamp && build/release/bench/micro_wamp
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "codec/wamp.h"

enum { RUNS = 5, ROUNDS = 200000 };

static const char *const names[PL_SERIAL_COUNT] = {"json", "msgpack", "cbor"};
static const char publish[] =
    "[16,239714735,{\"exclude_me\":false,\"acknowledge\":true},\"com.myapp.plant.line1."
    "temperature\","
    "[\"sensor 17 of line 1, in the hall behind the gate\",23.5,1700000000123,true,null],"
    "{\"unit\":\"celsius\",\"quality\":\"good\",\"tags\":[\"a\",\"b\"],\"count\":5}]";
static struct pl_shared *forms[PL_SERIAL_COUNT];

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void require(bool claim)
{
    if (claim)
        return;
    fprintf(stderr, "micro_wamp: a message is not what it should be\n");
    exit(1);
}

static void decode(enum pl_serializer serializer, struct pl_wamp *m)
{
    struct pl_bytes bytes = pl_bytes_of(forms[serializer]->data, forms[serializer]->len);
    require(!pl_wamp_decode(serializer, bytes, m, NULL));
}

/* Into a buffer that is there already, as a session does for each wire form of a turn. */
static void encode(enum pl_serializer to, const struct pl_wamp *m, struct pl_shared **buffer)
{
    struct pl_writer w = pl_writer_reuse(buffer);
    struct pl_value_writer v = pl_wamp_begin(&w, to, PL_WAMP_EVENT);
    pl_put_natural(&v, 4429313566);
    pl_put_natural(&v, 9007199254740991);
    pl_put_dict(&v);
    pl_put_end(&v);
    pl_wamp_end(&v, (enum pl_serializer)m->serializer, m->payload);
    require(!pl_writer_take(&w, buffer));
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* to < 0: decodes only. */
static double measure(enum pl_serializer from, int to)
{
    double runs[RUNS];
    struct pl_shared *buffer = pl_shared_new(4096);
    struct pl_wamp m;
    decode(from, &m);
    for (int run = 0; run < RUNS; run++) {
        double start = cpu_ns();
        for (int i = 0; i < ROUNDS; i++) {
            if (to < 0)
                decode(from, &m);
            else
                encode((enum pl_serializer)to, &m, &buffer);
        }
        runs[run] = (cpu_ns() - start) / ROUNDS;
    }
    pl_shared_unref(buffer);
    qsort(runs, RUNS, sizeof *runs, compare);
    return runs[RUNS / 2];
}

int main(void)
{
    struct pl_value value;
    size_t used;
    require(!pl_value_read(PL_SERIAL_JSON, pl_bytes_text(publish), &value, &used));
    for (int to = 0; to < PL_SERIAL_COUNT; to++) {
        struct pl_writer w = pl_writer_new();
        struct pl_value_writer v = pl_value_writer(&w, (enum pl_serializer)to);
        pl_put_value(&v, &value);
        require(!pl_writer_take(&w, &forms[to]));
    }
    printf("ns a message   bytes  decode  to json  to msgpack  to cbor\n");
    for (int from = 0; from < PL_SERIAL_COUNT; from++) {
        enum pl_serializer s = (enum pl_serializer)from;
        printf("%-12s %7u %7.0f %8.0f %11.0f %8.0f\n", names[from], (unsigned)forms[from]->len,
            measure(s, -1), measure(s, PL_SERIAL_JSON), measure(s, PL_SERIAL_MSGPACK),
            measure(s, PL_SERIAL_CBOR));
    }
    for (int s = 0; s < PL_SERIAL_COUNT; s++)
        pl_shared_unref(forms[s]);
    return 0;
}
