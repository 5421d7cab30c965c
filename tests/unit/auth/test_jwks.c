/* Sets of keys from an address: a provider of this process, which answers what it is told to. */
#include "check.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "auth/jwks.h"

/* The keys of RFC 7517, appendix A.1, and RFC 8037: public ones. */
#define KEY_EC                                                                                     \
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"ec\","                                            \
    "\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\","                                       \
    "\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\"}"
#define KEY_ED                                                                                     \
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"ed\","                                         \
    "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"

/* One thread that answers a request after the other. */
struct provider {
    int fd;
    char url[64];
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    int status, asked;
    bool holds; /* answers wait */
    char body[1024];
};

/* What a test waits for: events and jobs, in order. */
struct seen {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char text[1024];
    size_t len;
};

static struct seen seen = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void note(const char *text)
{
    pthread_mutex_lock(&seen.lock);
    seen.len += (size_t)snprintf(seen.text + seen.len, sizeof(seen.text) - seen.len, "%s; ", text);
    pthread_cond_broadcast(&seen.changed);
    pthread_mutex_unlock(&seen.lock);
}

/* Waits for so many notes, and forgets them. */
static const char *take(int count)
{
    static char text[sizeof(seen.text)];
    pthread_mutex_lock(&seen.lock);
    for (;;) {
        int found = 0;
        for (const char *at = seen.text; (at = strstr(at, "; ")); at += 2)
            found++;
        if (found >= count)
            break;
        pthread_cond_wait(&seen.changed, &seen.lock);
    }
    memcpy(text, seen.text, sizeof(text));
    seen.len = 0;
    seen.text[0] = 0;
    pthread_mutex_unlock(&seen.lock);
    return text;
}

static void *serve(void *context)
{
    struct provider *p = context;
    for (int fd; (fd = accept(p->fd, NULL, NULL)) >= 0; close(fd)) {
        char request[4096], answer[2048];
        if (read(fd, request, sizeof(request)) <= 0)
            continue;
        pthread_mutex_lock(&p->lock);
        p->asked++;
        pthread_cond_broadcast(&p->changed);
        while (p->holds)
            pthread_cond_wait(&p->changed, &p->lock);
        int len = snprintf(answer, sizeof(answer),
            "HTTP/1.1 %d x\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", p->status,
            strlen(p->body), p->body);
        pthread_mutex_unlock(&p->lock);
        if (write(fd, answer, (size_t)len) != len)
            continue;
    }
    return NULL;
}

static void answers(struct provider *p, int status, const char *keys)
{
    pthread_mutex_lock(&p->lock);
    p->status = status;
    snprintf(p->body, sizeof(p->body), "{\"keys\":[%s]}", keys);
    pthread_mutex_unlock(&p->lock);
}

static void holds(struct provider *p, bool it_does)
{
    pthread_mutex_lock(&p->lock);
    p->holds = it_does;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

/* Waits until it was asked so often. */
static void was_asked(struct provider *p, int count)
{
    pthread_mutex_lock(&p->lock);
    while (p->asked < count)
        pthread_cond_wait(&p->changed, &p->lock);
    CHECK_EQ(p->asked, count);
    pthread_mutex_unlock(&p->lock);
}

static struct provider *provider_new(const char *keys)
{
    struct provider *p = calloc(1, sizeof(*p));
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(p->fd, (struct sockaddr *)&at, sizeof(at)) || listen(p->fd, 16) ||
        getsockname(p->fd, (struct sockaddr *)&at, &len))
        abort();
    snprintf(p->url, sizeof(p->url), "http://127.0.0.1:%d/keys", ntohs(at.sin_port));
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    answers(p, 200, keys);
    if (pthread_create(&p->thread, NULL, serve, p))
        abort();
    return p;
}

static void provider_free(struct provider *p)
{
    holds(p, false);
    shutdown(p->fd, SHUT_RDWR);
    pthread_join(p->thread, NULL);
    close(p->fd);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static void on_event(void *context, const struct pl_jwks_event *event)
{
    char text[64];
    CHECK(context == &seen);
    if (event->err)
        snprintf(text, sizeof(text), "failed");
    else
        snprintf(
            text, sizeof(text), "%zu keys%s", event->key_count, event->has_lost ? ", lost" : "");
    note(text);
}

static struct pl_jwks *jwks_new(uint64_t refresh_ms, uint64_t refresh_min_ms)
{
    return pl_jwks_new(&(struct pl_jwks_options){.refresh_ms = refresh_ms,
        .refresh_min_ms = refresh_min_ms,
        .waiting_max = 2,
        .on_event = on_event,
        .context = &seen});
}

static void run_job(struct pl_pool_job *job)
{
    (void)job;
    note("run");
}

static void drop_job(struct pl_pool_job *job)
{
    (void)job;
    note("dropped");
}

#define JOB ((struct pl_pool_job){.run = run_job, .drop = drop_job})

static size_t count_of(struct pl_jwks_source *source)
{
    struct pl_jwt_keys *keys = pl_jwks_source_keys(source);
    size_t count = pl_jwt_keys_count(keys);
    pl_jwt_keys_unref(keys);
    return count;
}

enum { HOUR_MS = 3600 * 1000 };

TEST(a_set_is_fetched_at_the_start_and_who_waits_is_told_when_it_is_there)
{
    struct provider *p = provider_new(KEY_EC);
    struct pl_jwks *jwks = jwks_new(HOUR_MS, 0);
    struct pl_jwks_source *source, *same;
    struct pl_pool_job jobs[] = {JOB, JOB, JOB};
    holds(p, true);
    REQUIRE(pl_jwks_source_hold(jwks, p->url, NULL, &source) == PL_OK);
    REQUIRE(pl_jwks_source_hold(jwks, p->url, NULL, &same) == PL_OK);
    CHECK(source == same);
    CHECK_EQ(pl_jwks_wait(jwks, &jobs[0]), PL_NOT_FOUND); /* nothing is started */
    REQUIRE(pl_jwks_start(jwks) == PL_OK);
    was_asked(p, 1);
    CHECK_EQ(count_of(source), 0);
    CHECK_EQ(pl_jwks_wait(jwks, &jobs[0]), PL_OK);
    CHECK_EQ(pl_jwks_wait(jwks, &jobs[1]), PL_OK);
    CHECK_EQ(pl_jwks_wait(jwks, &jobs[2]), PL_LIMIT);
    holds(p, false);
    CHECK_STR(take(3), "run; run; 1 keys; ");
    CHECK_EQ(count_of(source), 1);
    was_asked(p, 1);
    pl_jwks_source_unref(same);
    pl_jwks_source_unref(source);
    pl_jwks_free(jwks);
    provider_free(p);
}

TEST(a_set_is_fetched_anew_for_who_waits_but_not_too_often)
{
    struct provider *p = provider_new(KEY_EC);
    struct pl_jwks *often = jwks_new(HOUR_MS, 0), *seldom = jwks_new(HOUR_MS, HOUR_MS);
    struct pl_jwks_source *source, *other;
    struct pl_pool_job job = JOB;
    REQUIRE(pl_jwks_start(often) == PL_OK && pl_jwks_start(seldom) == PL_OK);
    /* A source that comes later is fetched, too. */
    REQUIRE(pl_jwks_source_hold(often, p->url, NULL, &source) == PL_OK);
    CHECK_STR(take(1), "1 keys; ");
    REQUIRE(pl_jwks_source_hold(seldom, p->url, NULL, &other) == PL_OK);
    CHECK_STR(take(1), "1 keys; ");
    CHECK_EQ(pl_jwks_wait(seldom, &job), PL_NOT_FOUND);
    answers(p, 200, KEY_EC "," KEY_ED);
    CHECK_EQ(pl_jwks_wait(often, &job), PL_OK);
    CHECK_STR(take(2), "run; 2 keys; ");
    CHECK_EQ(count_of(source), 2);
    CHECK_EQ(count_of(other), 1);
    answers(p, 200, KEY_ED);
    CHECK_EQ(pl_jwks_wait(often, &job), PL_OK);
    CHECK_STR(take(2), "run; 1 keys, lost; ");
    was_asked(p, 4);
    pl_jwks_source_unref(source);
    pl_jwks_source_unref(other);
    pl_jwks_free(often);
    pl_jwks_free(seldom);
    provider_free(p);
}

TEST(what_was_fetched_stays_while_the_provider_fails)
{
    struct provider *p = provider_new(KEY_EC);
    struct pl_jwks *jwks = jwks_new(HOUR_MS, 0);
    struct pl_jwks_source *source;
    struct pl_pool_job job = JOB;
    REQUIRE(pl_jwks_start(jwks) == PL_OK);
    REQUIRE(pl_jwks_source_hold(jwks, p->url, NULL, &source) == PL_OK);
    CHECK_STR(take(1), "1 keys; ");
    static const struct {
        int status;
        const char *keys;
    } bad[] = {{500, KEY_ED}, {302, KEY_ED}, {200, ""}, {200, "{"},
        {200, "{\"kty\":\"oct\",\"k\":\"AA\"}"}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        answers(p, bad[i].status, bad[i].keys);
        CHECK_EQ(pl_jwks_wait(jwks, &job), PL_OK);
        CHECK_STR(take(2), "run; failed; ");
        CHECK_EQ(count_of(source), 1);
    }
    pl_jwks_source_unref(source);
    pl_jwks_free(jwks);
    provider_free(p);
}

TEST(the_end_drops_who_waits_and_does_not_wait_for_the_provider)
{
    struct provider *p = provider_new(KEY_EC);
    struct pl_jwks *jwks = jwks_new(HOUR_MS, 0);
    struct pl_jwks_source *source;
    struct pl_pool_job job = JOB;
    holds(p, true);
    REQUIRE(pl_jwks_source_hold(jwks, p->url, NULL, &source) == PL_OK);
    REQUIRE(pl_jwks_start(jwks) == PL_OK);
    was_asked(p, 1);
    CHECK_EQ(pl_jwks_wait(jwks, &job), PL_OK);
    pl_jwks_end(jwks);
    const char *said = take(1); /* by the thread that ended, or by the end */
    CHECK(strcmp(said, "run; ") == 0 || strcmp(said, "dropped; ") == 0);
    CHECK_EQ(pl_jwks_wait(jwks, &job), PL_NOT_FOUND);
    pl_jwks_source_unref(source);
    pl_jwks_free(jwks);
    provider_free(p);
}

TEST(an_address_is_https_or_of_this_machine)
{
    static const char *const good[] = {"https://tenant.example/jwks.json", "http://127.0.0.1:1/",
        "http://localhost/x", "http://[::1]:80/"};
    static const char *const bad[] = {"http://tenant.example/", "file:///etc/passwd", "jwks.json",
        "", "ftp://127.0.0.1/", "https://user@tenant.example/", "http://127.0.0.1.example/",
        "http://localhost.example/"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        CHECK(pl_jwks_url_is_fine(good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK(!pl_jwks_url_is_fine(bad[i]));
}
