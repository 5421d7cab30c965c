/*
 * Latencies by their size: buckets that grow with what they hold, each at most 1/32 wide.
 */
#ifndef PL_CLI_HISTOGRAM_H
#define PL_CLI_HISTOGRAM_H

#include <stdint.h>

enum { PL_HISTOGRAM_STEPS = 32, PL_HISTOGRAM_BUCKETS = 60 * PL_HISTOGRAM_STEPS };

struct pl_histogram {
    uint64_t count, sum, min, max;
    uint64_t buckets[PL_HISTOGRAM_BUCKETS];
};

void pl_histogram_add(struct pl_histogram *h, uint64_t value);
/* The value that `share` (0 to 1) of all are at most; the upper end of its bucket. 0: empty. */
uint64_t pl_histogram_at(const struct pl_histogram *h, double share);

#endif
