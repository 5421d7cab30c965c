/*
 *     connect URL [user password]     subscribe SUBJECT [QUEUE]     respond SUBJECT QUEUE PREFIX
 *     publish SUBJECT DATA [REPLY]    request SUBJECT DATA          close
 */
#include "lines.h"
#include <nats/nats.h>

static natsConnection *connection;

static void on_message(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
    const char *prefix = closure, *reply = natsMsg_GetReply(msg);
    (void)sub;
    if (prefix && reply) {
        char answer[65536];
        int len = snprintf(answer, sizeof answer, "%s%.*s", prefix, natsMsg_GetDataLength(msg),
            natsMsg_GetData(msg));
        natsConnection_Publish(nc, reply, answer, len);
    }
    say_message(
        natsMsg_GetSubject(msg), reply, natsMsg_GetData(msg), natsMsg_GetDataLength(msg), "");
    natsMsg_Destroy(msg);
}

static natsStatus subscribe(const char *subject, const char *queue, char *prefix)
{
    natsSubscription *sub;
    natsStatus s =
        *queue ? natsConnection_QueueSubscribe(&sub, connection, subject, queue, on_message, prefix)
               : natsConnection_Subscribe(&sub, connection, subject, on_message, prefix);
    return s == NATS_OK ? natsConnection_Flush(connection) : s;
}

static natsStatus request(const char *subject, const struct word *data)
{
    natsMsg *msg;
    natsStatus s = natsConnection_Request(&msg, connection, subject, data->text, data->len, 10000);
    if (s == NATS_OK) {
        say_message(natsMsg_GetSubject(msg), NULL, natsMsg_GetData(msg), natsMsg_GetDataLength(msg),
            " reply");
        natsMsg_Destroy(msg);
    }
    return s;
}

static natsStatus run(struct word words[WORDS_MAX])
{
    const char *verb = words[0].text;
    if (strcmp(verb, "connect") == 0) {
        natsOptions *options;
        natsStatus s = natsOptions_Create(&options);
        if (s == NATS_OK)
            s = natsOptions_SetURL(options, words[1].text);
        if (s == NATS_OK)
            s = natsOptions_SetAllowReconnect(options, false);
        if (s == NATS_OK && words[2].len)
            s = natsOptions_SetUserInfo(options, words[2].text, words[3].text);
        if (s == NATS_OK)
            s = natsConnection_Connect(&connection, options);
        natsOptions_Destroy(options);
        return s;
    }
    if (strcmp(verb, "subscribe") == 0)
        return subscribe(words[1].text, words[2].text, NULL);
    if (strcmp(verb, "respond") == 0)
        return subscribe(words[1].text, words[2].text, strdup(words[3].text));
    if (strcmp(verb, "request") == 0)
        return request(words[1].text, &words[2]);
    if (strcmp(verb, "publish") == 0) {
        natsStatus s = words[3].len ? natsConnection_PublishRequest(connection, words[1].text,
                                          words[3].text, words[2].text, words[2].len)
                                    : natsConnection_Publish(
                                          connection, words[1].text, words[2].text, words[2].len);
        return s == NATS_OK ? natsConnection_Flush(connection) : s;
    }
    if (strcmp(verb, "close") == 0) {
        natsConnection_Close(connection);
        return NATS_OK;
    }
    return NATS_INVALID_ARG;
}

int main(void)
{
    static char line[1 << 20];
    struct word words[WORDS_MAX];
    while (read_command(line, sizeof line, words)) {
        natsStatus s = run(words);
        if (s == NATS_OK)
            say("ok");
        else
            say("error %s", natsStatus_GetText(s));
    }
    natsConnection_Destroy(connection);
    return 0;
}
