/*
 * /connections and /subscriptions: JSON, in pages.
 *
 * Connections belong to their shards, so a question goes round: each shard adds its part on its
 * own thread, and the last one answers. Subscriptions are read under their realm's lock; of these
 * only the page is copied.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/text.h"
#include "codec/http.h"
#include "net/upgrade.h"
#include "server/state.h"

enum { PAGE_DEFAULT = 100, PAGE_MAX = 1000 };

static const char json_content[] = "application/json";

/* False: it is there and no number up to max. */
static bool query_number(
    const struct pl_http_request *request, const char *name, uint64_t max, uint64_t *out)
{
    struct pl_arena arena = {0};
    struct pl_bytes text;
    enum pl_err err = pl_http_query(request->query, name, &arena, &text);
    bool is_fine = err == PL_NOT_FOUND || (err == PL_OK && !pl_parse_decimal(text, max, out));
    pl_arena_done(&arena);
    return is_fine;
}

static void refuse_query(struct pl_conn *conn, const char *why)
{
    pl_conn_answer(
        conn, &(struct pl_http_answer){
                  .status = 400, .type = "text/plain; charset=utf-8", .body = pl_bytes_text(why)});
}

/* Bytes of a peer as JSON text: what is no UTF-8 becomes '?'. */
static json_t *json_bytes(struct pl_bytes bytes)
{
    json_t *text = json_stringn((const char *)bytes.data, bytes.len);
    if (text || bytes.len > PL_SUBJECT_MAX)
        return text ? text : json_string("?");
    char clean[PL_SUBJECT_MAX + 1];
    size_t len = 0;
    for (size_t at = 0; at < bytes.len;) {
        uint32_t code;
        size_t n = pl_utf8_next(pl_bytes_from(bytes, at), &code);
        if (n)
            memcpy(clean + len, bytes.data + at, n);
        else
            clean[len] = '?';
        len += n ? n : 1;
        at += n ? n : 1;
    }
    return json_stringn(clean, len);
}

static void send_json(struct pl_answer *answer, json_t *root)
{
    char *text = root ? json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(15)) : NULL;
    size_t len = text ? strlen(text) : 0;
    char *body = text ? pl_alloc_copy(text, len) : NULL;
    pl_answer_send(answer, body ? 200 : 503, json_content, body, body ? len : 0);
    free(text); /* jansson's own */
    json_decref(root);
}

/* ---- Connections ---- */

struct found {
    uint64_t id;
    json_t *json; /* one reference; NULL: not made yet */
    struct pl_conn *conn;
};

struct round;

struct part {
    struct pl_post post;
    struct round *round;
    struct pl_shard *shard;
    struct found *found; /* owned; ordered by id, at most the page's limit */
    uint32_t count;
};

struct round {
    struct pl_answer *answer;
    uint64_t after, limit, total;
    atomic_uint left; /* parts that have not come */
    atomic_bool has_failed;
    uint32_t part_count;
    struct part parts[];
};

static int compare_found(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static json_t *describe(struct pl_conn *conn, const struct pl_shard *shard)
{
    struct pl_connection_facts facts = pl_connection_facts(conn);
    const struct pl_link *link = facts.link;
    const struct pl_session *session = link ? link->session : NULL;
    const struct pl_identity *identity = session ? session->identity : NULL;
    const struct pl_port *port = facts.place->port;
    return json_pack("{s:I, s:s, s:s?, s:o, s:i, s:b, s:b, s:f, s:I, s:I, s:I, s:i, s:o?, s:o?, "
                     "s:o?, s:s?}",
        "id", (json_int_t)facts.id, "listener", port ? port->config->name : "admin", "protocol",
        link ? link->protocol->name : NULL, "address", json_bytes(pl_conn_address(conn)), "port",
        (int)pl_conn_peer_port(conn), "tls", (int)pl_conn_is_tls(conn), "websocket",
        (int)pl_conn_is_websocket(conn), "age_seconds",
        (double)(pl_reactor_now_ms(shard->reactor) - facts.opened_ms) / 1000, "bytes_in",
        (json_int_t)pl_conn_bytes_in(conn), "bytes_out", (json_int_t)pl_conn_bytes_out(conn),
        "bytes_queued", (json_int_t)pl_conn_output(conn)->bytes, "thread", (int)shard->index,
        "session", session ? json_integer((json_int_t)session->id) : NULL, "user",
        identity ? json_bytes(identity->user) : NULL, "role",
        identity ? json_bytes(identity->role) : NULL, "realm",
        session && session->realm ? pl_realm_name(session->realm) : NULL);
}

struct collector {
    struct part *part;
    struct found *all; /* room for every connection of the shard */
    size_t count, cap;
};

static void collect(struct pl_conn *conn, void *context)
{
    struct collector *c = context;
    uint64_t id = pl_connection_facts(conn).id;
    if (id > c->part->round->after && c->count < c->cap)
        c->all[c->count++] = (struct found){.id = id, .conn = conn};
}

static void finish_round(struct round *round)
{
    json_t *list = json_array(), *root = NULL;
    uint64_t total = 0;
    size_t count = 0;
    struct found *all = pl_alloc(round->part_count * (round->limit + 1) * sizeof *all);
    for (uint32_t i = 0; i < round->part_count; i++) {
        struct part *part = &round->parts[i];
        for (uint32_t j = 0; j < part->count; j++) {
            if (all)
                all[count++] = part->found[j];
            else
                json_decref(part->found[j].json);
        }
        total += pl_reactor_conn_count(part->shard->reactor);
        pl_free(part->found);
    }
    if (all && count)
        qsort(all, count, sizeof *all, compare_found);
    uint64_t next = 0;
    for (size_t i = 0; i < count; i++) {
        if (i < round->limit && json_array_append(list, all[i].json) == 0)
            next = count > round->limit && i == round->limit - 1 ? all[i].id : 0;
        json_decref(all[i].json);
    }
    if (all && !atomic_load(&round->has_failed))
        root = json_pack("{s:I, s:O, s:o?}", "total", (json_int_t)total, "connections", list,
            "next_after", next ? json_integer((json_int_t)next) : NULL);
    json_decref(list);
    send_json(round->answer, root);
    pl_free(all);
    pl_free(round);
}

/* On each shard. */
static void on_part(struct pl_post *post, void *context)
{
    struct part *part = PL_CONTAINER(post, struct part, post);
    struct round *round = part->round;
    (void)context;
    struct collector c = {.part = part, .cap = pl_reactor_conn_count(part->shard->reactor)};
    c.all = pl_alloc((c.cap + 1) * sizeof *c.all);
    if (c.all) {
        pl_reactor_each_conn(part->shard->reactor, collect, &c);
        if (c.count)
            qsort(c.all, c.count, sizeof *c.all, compare_found);
        /* One more than fits, so that whoever answers knows that there are more. */
        part->count = (uint32_t)(c.count > round->limit + 1 ? round->limit + 1 : c.count);
        part->found = c.all;
        for (uint32_t i = 0; i < part->count; i++) {
            part->found[i].json = describe(part->found[i].conn, part->shard);
            if (!part->found[i].json)
                atomic_store(&round->has_failed, true);
        }
    } else {
        atomic_store(&round->has_failed, true);
    }
    if (atomic_fetch_sub(&round->left, 1) == 1)
        finish_round(round);
}

void pl_admin_connections(struct pl_conn *conn, const struct pl_http_request *request)
{
    struct pl_server *server = pl_conn_shard(conn)->server;
    uint64_t after = 0, limit = PAGE_DEFAULT;
    if (!query_number(request, "after", INT64_MAX, &after) ||
        !query_number(request, "limit", PAGE_MAX, &limit) || limit == 0) {
        refuse_query(conn, "after: a connection's id; limit: 1 to 1000\n");
        return;
    }
    struct round *round = pl_zalloc(sizeof *round + server->shard_count * sizeof round->parts[0]);
    if (!round || !(round->answer = pl_answer_begin(conn, request))) {
        if (!round)
            pl_conn_answer_status(conn, 503);
        pl_free(round);
        return;
    }
    round->after = after;
    round->limit = limit;
    round->part_count = server->shard_count;
    atomic_store(&round->left, server->shard_count);
    for (uint32_t i = 0; i < server->shard_count; i++) {
        round->parts[i].round = round;
        round->parts[i].shard = &server->shards[i];
        round->parts[i].post.run = on_part;
    }
    /* The last one frees the round, so it is not touched behind its post. */
    uint32_t count = server->shard_count;
    for (uint32_t i = 0; i < count; i++)
        pl_reactor_post(server->shards[i].reactor, &round->parts[i].post);
}

/* ---- Subscriptions ---- */

struct page {
    uint64_t offset, limit, session, total;
    struct pl_bytes subject; /* only what matches it; data NULL: all */
    json_t *list;
    bool has_failed;
};

/* Under the realm's lock. */
static void on_subscription(void *context, struct pl_subscription *sub)
{
    struct page *page = context;
    if (page->session && sub->session->id != page->session)
        return;
    if (page->subject.data && !pl_pattern_matches(sub->pattern, page->subject))
        return;
    uint64_t index = page->total++;
    if (index < page->offset || index - page->offset >= page->limit)
        return;
    static const char *const kinds[] = {"tokens", "prefix", "glob"};
    json_t *item = json_pack("{s:o, s:s, s:o?, s:i, s:I, s:s}", "pattern",
        json_bytes(sub->pattern->text), "kind", kinds[sub->pattern->kind], "queue",
        sub->queue.len ? json_bytes(sub->queue) : NULL, "qos", (int)sub->qos, "session",
        (json_int_t)sub->session->id, "protocol", sub->session->ops->name);
    if (!item || json_array_append_new(page->list, item))
        page->has_failed = true;
}

static struct pl_realm *query_realm(
    const struct pl_server *server, const struct pl_http_request *request)
{
    struct pl_arena arena = {0};
    struct pl_bytes name;
    struct pl_realm *realm = NULL;
    enum pl_err err = pl_http_query(request->query, "realm", &arena, &name);
    if (err == PL_NOT_FOUND)
        realm = server->realms[0];
    for (uint32_t i = 0; !err && i < server->realm_count; i++) {
        if (pl_bytes_equal(pl_bytes_text(pl_realm_name(server->realms[i])), name))
            realm = server->realms[i];
    }
    pl_arena_done(&arena);
    return realm;
}

void pl_admin_subscriptions(struct pl_conn *conn, const struct pl_http_request *request)
{
    struct pl_server *server = pl_conn_shard(conn)->server;
    struct pl_realm *realm = query_realm(server, request);
    struct page page = {.limit = PAGE_DEFAULT};
    if (!realm || !query_number(request, "offset", INT64_MAX, &page.offset) ||
        !query_number(request, "limit", PAGE_MAX, &page.limit) || page.limit == 0 ||
        !query_number(request, "session", INT64_MAX, &page.session)) {
        refuse_query(conn, "realm: its name; offset: a number; limit: 1 to 1000; session: an id; "
                           "subject: a name\n");
        return;
    }
    struct pl_arena arena = {0};
    if (pl_http_query(request->query, "subject", &arena, &page.subject))
        page.subject = PL_NO_BYTES;
    page.list = json_array();
    if (page.list)
        pl_realm_each_subscription(realm, on_subscription, &page);
    pl_arena_done(&arena);
    bool has_more = page.total > page.offset && page.total - page.offset > page.limit;
    json_int_t next_offset = (json_int_t)page.offset + (json_int_t)page.limit;
    json_t *root =
        page.list && !page.has_failed
            ? json_pack("{s:I, s:O, s:o?}", "total", (json_int_t)page.total, "subscriptions",
                  page.list, "next_offset", has_more ? json_integer(next_offset) : NULL)
            : NULL;
    json_decref(page.list);
    struct pl_answer *answer = pl_answer_begin(conn, request);
    if (answer)
        send_json(answer, root);
    else
        json_decref(root);
}
