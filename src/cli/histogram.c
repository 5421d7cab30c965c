#include "cli/histogram.h"

/* Values below two rounds of steps have a bucket each; above, a power of two has STEPS of them. */
static unsigned bucket_of(uint64_t value)
{
    if (value < 2 * PL_HISTOGRAM_STEPS)
        return (unsigned)value;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - 5u;
    return shift * PL_HISTOGRAM_STEPS + (unsigned)(value >> shift);
}

static uint64_t upper_end(unsigned bucket)
{
    if (bucket < 2 * PL_HISTOGRAM_STEPS)
        return bucket;
    unsigned shift = bucket / PL_HISTOGRAM_STEPS - 1;
    uint64_t step = bucket % PL_HISTOGRAM_STEPS + PL_HISTOGRAM_STEPS;
    return ((step + 1) << shift) - 1;
}

void pl_histogram_add(struct pl_histogram *h, uint64_t value)
{
    unsigned bucket = bucket_of(value);
    h->buckets[bucket < PL_HISTOGRAM_BUCKETS ? bucket : PL_HISTOGRAM_BUCKETS - 1]++;
    h->min = !h->count || value < h->min ? value : h->min;
    h->max = value > h->max ? value : h->max;
    h->sum += value;
    h->count++;
}

uint64_t pl_histogram_at(const struct pl_histogram *h, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)h->count + 0.5), seen = 0;
    if (!h->count)
        return 0;
    if (!wanted)
        wanted = 1;
    for (unsigned i = 0; i < PL_HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= wanted) {
            uint64_t end = upper_end(i);
            return end < h->max ? end : h->max;
        }
    }
    return h->max;
}
