/*
 *     connect HOST PORT [CLIENT [VERSION (4, 5)]]     subscribe TOPIC QOS     publish TOPIC DATA
 * QOS RETAIN close
 *
 * An answer waits for what the server says: CONNACK, SUBACK, and PUBACK or PUBCOMP.
 */
#include "lines.h"
#include <mosquitto.h>
#include <semaphore.h>

static struct mosquitto *client;
static sem_t answered;
static int answer; /* what the server's answer said; 0 is good */

static void on_connect(struct mosquitto *m, void *closure, int code)
{
    (void)m, (void)closure;
    answer = code;
    sem_post(&answered);
}

static void on_subscribe(struct mosquitto *m, void *closure, int id, int count, const int *granted)
{
    (void)m, (void)closure, (void)id;
    answer = count > 0 && granted[0] >= 128 ? granted[0] : 0;
    sem_post(&answered);
}

static void on_publish(struct mosquitto *m, void *closure, int id)
{
    (void)m, (void)closure, (void)id;
    answer = 0;
    sem_post(&answered);
}

static void on_message(struct mosquitto *m, void *closure, const struct mosquitto_message *msg)
{
    char more[32];
    (void)m, (void)closure;
    snprintf(more, sizeof more, " %d %d", msg->qos, msg->retain);
    say_message(msg->topic, NULL, msg->payload, msg->payloadlen, more);
}

static int wait_if(int code)
{
    if (code != MOSQ_ERR_SUCCESS)
        return code;
    sem_wait(&answered);
    return answer;
}

static int run(struct word words[WORDS_MAX])
{
    const char *verb = words[0].text;
    if (strcmp(verb, "connect") == 0) {
        client = mosquitto_new(words[3].len ? words[3].text : NULL, true, NULL);
        if (!client)
            return MOSQ_ERR_NOMEM;
        mosquitto_int_option(
            client, MOSQ_OPT_PROTOCOL_VERSION, words[4].len ? atoi(words[4].text) : 4);
        mosquitto_connect_callback_set(client, on_connect);
        mosquitto_subscribe_callback_set(client, on_subscribe);
        mosquitto_publish_callback_set(client, on_publish);
        mosquitto_message_callback_set(client, on_message);
        int code = mosquitto_connect(client, words[1].text, atoi(words[2].text), 60);
        if (code == MOSQ_ERR_SUCCESS)
            code = mosquitto_loop_start(client);
        return wait_if(code);
    }
    if (strcmp(verb, "subscribe") == 0)
        return wait_if(mosquitto_subscribe(client, NULL, words[1].text, atoi(words[2].text)));
    if (strcmp(verb, "publish") == 0)
        return wait_if(mosquitto_publish(client, NULL, words[1].text, words[2].len, words[2].text,
            atoi(words[3].text), atoi(words[4].text)));
    if (strcmp(verb, "close") == 0)
        return mosquitto_disconnect(client);
    return MOSQ_ERR_INVAL;
}

int main(void)
{
    static char line[1 << 20];
    struct word words[WORDS_MAX];
    mosquitto_lib_init();
    sem_init(&answered, 0, 0);
    while (read_command(line, sizeof line, words)) {
        int code = run(words);
        if (code == MOSQ_ERR_SUCCESS)
            say("ok");
        else
            say("error %s", mosquitto_strerror(code));
    }
    if (client) {
        mosquitto_loop_stop(client, true);
        mosquitto_destroy(client);
    }
    mosquitto_lib_cleanup();
    return 0;
}
