/*
 * The reference page of /metrics, docs/reference/metrics.md.
 */
#ifndef PL_SERVER_METRICS_H
#define PL_SERVER_METRICS_H

#include <stdio.h>

void pl_metrics_print_reference(FILE *out);

#endif
