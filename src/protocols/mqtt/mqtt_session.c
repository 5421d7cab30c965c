#include "protocols/mqtt/mqtt_session.h"

#include "base/alloc.h"

static struct mqtt_session *session_of(struct pl_session *core)
{
    return PL_CONTAINER(core, struct mqtt_session, core);
}

static enum pl_err encode(const struct pl_subscription *sub, const struct pl_message *message,
    uint64_t now_ms, struct pl_writer *w)
{
    const struct mqtt_subscription *own = (const void *)sub; /* its first member */
    struct mqtt_delivery d = {.look = own->look, .now_ms = now_ms};
    return pl_mqtt_encode_message(w, message, &d);
}

static uint8_t reason_of(enum pl_err why)
{
    switch (why) {
    case PL_TAKEN_OVER:
        return MQTT_SESSION_TAKEN_OVER;
    case PL_KICKED:
        return MQTT_ADMINISTRATIVE_ACTION;
    case PL_EXPIRED:
        return MQTT_CONNECT_TIME;
    case PL_REVOKED:
    case PL_DENIED:
        return MQTT_NOT_AUTHORIZED;
    case PL_DRAINING:
        return MQTT_SERVER_SHUTTING_DOWN;
    case PL_SLOW_CONSUMER:
    case PL_LIMIT:
        return MQTT_QUOTA_EXCEEDED;
    case PL_TIMEOUT:
        return MQTT_KEEP_ALIVE_TIMEOUT;
    default: /* many errors that end no session by themselves */
        return MQTT_UNSPECIFIED_ERROR;
    }
}

static void say_why(struct mqtt_link *l, enum pl_err why)
{
    if (l->state == MQTT_CONNECTING)
        (void)pl_mqtt_refuse(l, why, MQTT_SERVER_UNAVAILABLE, pl_err_text(why));
    else
        pl_mqtt_goodbye(l, why, reason_of(why), pl_err_text(why));
}

static void ended(struct pl_session *core, enum pl_err why)
{
    struct mqtt_session *s = session_of(core);
    struct mqtt_link *l = s->link;
    if (!l) {
        if (why != PL_TAKEN_OVER)
            pl_session_leave(core, true);
        return;
    }
    say_why(l, why);
    if (!l->session)
        return; /* a refused CONNECT has parted already */
    if (why == PL_TAKEN_OVER) {
        /* The core moves it or ends it: no detach of ours. */
        l->session = NULL;
        l->link.session = NULL;
        s->link = NULL;
        core->out = NULL;
    } else if (why == PL_REVOKED) {
        /* What it may not have any more must not go on filling its mailbox. */
        l->session = NULL;
        l->link.session = NULL;
        s->link = NULL;
        pl_session_leave(core, true);
    } else {
        pl_mqtt_part(l, true);
    }
}

static void free_session(struct mqtt_session *s)
{
    struct mqtt_link *l = s->link;
    if (l) {
        /* Ended by a newer connection that wanted no old state: the core had no time to say so. */
        l->session = NULL;
        l->link.session = NULL;
        pl_mqtt_goodbye(l, PL_TAKEN_OVER, MQTT_SESSION_TAKEN_OVER, pl_err_text(PL_TAKEN_OVER));
    }
    pl_mqtt_subscriptions_free(s);
    pl_mqtt_flow_free(s);
    pl_mqtt_connecting_free(s);
    pl_session_done(&s->core);
    pl_free(s);
}

static void complete(struct pl_session *core, const struct pl_completion *done)
{
    struct mqtt_session *s = session_of(core);
    switch ((enum pl_done)done->kind) {
    case PL_DONE_LOGIN:
        pl_mqtt_on_login(s, done);
        return;
    case PL_DONE_CLAIM:
        pl_mqtt_on_claim(s, done);
        return;
    case PL_DONE_SUBSCRIBE:
        pl_mqtt_on_subscribed(s, done);
        return;
    case PL_DONE_UNSUBSCRIBE:
        pl_mqtt_on_unsubscribed(s, done);
        return;
    case PL_DONE_PUBLISH:
        pl_mqtt_on_published(s, done);
        return;
    case PL_DONE_LEAVE:
        free_session(s);
        return;
    case PL_DONE_STATE:
        pl_mqtt_on_stored(s, done);
        return;
    case PL_DONE_JOIN:
    case PL_DONE_REPLAY:
    case PL_DONE_FENCE:
    case PL_DONE_REGISTER:
    case PL_DONE_UNREGISTER:
    case PL_DONE_LOG:
        return;
    }
}

const struct pl_session_ops pl_mqtt_session_ops = {
    .name = "mqtt",
    .encode = encode,
    .deliver = pl_mqtt_deliver,
    .complete = complete,
    .ended = ended,
    .write_state = pl_mqtt_write_state,
    .had = pl_mqtt_had,
};
