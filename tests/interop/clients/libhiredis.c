/*
 *     connect HOST PORT [user password]     subscribe CHANNEL     psubscribe PATTERN
 *     publish CHANNEL DATA                  pipeline CHANNEL COUNT
 *
 * Two connections: one is answered, the other one receives on a thread. `publish` and `pipeline`
 * say "ok"; the numbers of receivers come as a message "receivers <sum>".
 */
#include "lines.h"
#include <hiredis/hiredis.h>

static redisContext *commands, *events;

/* An error's text, or NULL. Frees the reply. */
static const char *failed(redisContext *c, redisReply *reply)
{
    static char text[256];
    if (!reply)
        return c->errstr;
    const char *error = NULL;
    if (reply->type == REDIS_REPLY_ERROR) {
        snprintf(text, sizeof text, "%s", reply->str);
        error = text;
    }
    freeReplyObject(reply);
    return error;
}

static redisContext *open_context(struct word words[WORDS_MAX], const char **out_error)
{
    redisContext *c = redisConnect(words[1].text, atoi(words[2].text));
    if (!c || c->err) {
        *out_error = c ? c->errstr : "no memory";
        return NULL;
    }
    if (words[3].len)
        *out_error = failed(c, redisCommand(c, "AUTH %b %b", words[3].text, (size_t)words[3].len,
                                   words[4].text, (size_t)words[4].len));
    return c;
}

static void *receive(void *nothing)
{
    (void)nothing;
    redisReply *reply;
    while (redisGetReply(events, (void **)&reply) == REDIS_OK) {
        size_t n = reply->elements;
        if (n >= 3 && strstr(reply->element[0]->str, "message"))
            say_message(reply->element[n - 2]->str, NULL, reply->element[n - 1]->str,
                (int)reply->element[n - 1]->len, "");
        freeReplyObject(reply);
    }
    return NULL;
}

static const char *subscribe(const char *verb, const struct word *name)
{
    static int runs;
    pthread_t thread;
    if (runs)
        return "subscribe once";
    const char *error =
        failed(events, redisCommand(events, "%s %b", verb, name->text, (size_t)name->len));
    if (!error)
        runs = pthread_create(&thread, NULL, receive, NULL) == 0;
    return error;
}

/* COUNT messages "0" … without waiting in between, a PING behind each; answers must alternate. */
static const char *pipeline(const struct word *channel, int count)
{
    long long sum = 0;
    char text[32];
    for (int i = 0; i < count; i++) {
        redisAppendCommand(commands, "PUBLISH %b %d", channel->text, (size_t)channel->len, i);
        redisAppendCommand(commands, "PING p%d", i);
    }
    for (int i = 0; i < count; i++) {
        redisReply *published, *pong;
        if (redisGetReply(commands, (void **)&published) || redisGetReply(commands, (void **)&pong))
            return commands->errstr;
        snprintf(text, sizeof text, "p%d", i);
        if (published->type != REDIS_REPLY_INTEGER || pong->type != REDIS_REPLY_STRING ||
            strcmp(pong->str, text) != 0)
            return "answers are not in order";
        sum += published->integer;
        freeReplyObject(published);
        freeReplyObject(pong);
    }
    snprintf(text, sizeof text, "%lld", sum);
    say_message("receivers", NULL, text, (int)strlen(text), " reply");
    return NULL;
}

static const char *publish(const struct word *channel, const struct word *data)
{
    redisReply *reply = redisCommand(commands, "PUBLISH %b %b", channel->text, (size_t)channel->len,
        data->text, (size_t)data->len);
    char text[32] = "";
    if (reply && reply->type == REDIS_REPLY_INTEGER)
        snprintf(text, sizeof text, "%lld", reply->integer);
    const char *error = failed(commands, reply);
    if (!error)
        say_message("receivers", NULL, text, (int)strlen(text), " reply");
    return error;
}

static const char *run(struct word words[WORDS_MAX])
{
    const char *verb = words[0].text, *error = NULL;
    if (strcmp(verb, "connect") == 0) {
        commands = open_context(words, &error);
        if (!error)
            events = open_context(words, &error);
        return error;
    }
    if (strcmp(verb, "subscribe") == 0 || strcmp(verb, "psubscribe") == 0)
        return subscribe(verb, &words[1]);
    if (strcmp(verb, "publish") == 0)
        return publish(&words[1], &words[2]);
    if (strcmp(verb, "pipeline") == 0)
        return pipeline(&words[1], atoi(words[2].text));
    return "unknown verb";
}

int main(void)
{
    static char line[1 << 20];
    struct word words[WORDS_MAX];
    while (read_command(line, sizeof line, words)) {
        const char *error = run(words);
        if (error)
            say("error %s", error);
        else
            say("ok");
    }
    return 0;
}
