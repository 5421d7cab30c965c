/* What sessions of a channel ask for beside subscribing: that it has a memory. */
#include "core/realm_state.h"

/* Another subject may be forgotten for it, which then is logged no more. */
enum pl_err pl_run_claim_subject(struct pl_runner *r, struct pl_subscription *sub)
{
    struct pl_history *h = r->realm->history;
    uint64_t forgotten = pl_history_forgotten(h);
    enum pl_err err = pl_history_claim(h, sub->pattern->text, r->now_ms, &sub->has_claim);
    if (forgotten != pl_history_forgotten(h))
        pl_matcher_touch(r->realm->matcher);
    return err;
}
