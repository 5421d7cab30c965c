/*
 * A client on libmosquitto that a crash test drives: a publisher at full speed, or a subscriber.
 *
 *     peer publish port=1883 id=p1 version=5 clean=0 qos=2 topic=crash/h/1 index=1 file=p1.map ...
 *     peer subscribe port=1883 id=s1 version=4 clean=0 qos=1 topic=crash/# file=s1.map ...
 *
 * What it was told stands in its file, which the test maps too and reads while this runs, and after
 * it was killed: a head, then a byte for each message. A publisher counts there how often the
 * server acknowledged it, a subscriber how often it came, at publisher × count + number.
 *
 * Lines on stdin: "stop" ends publishing, what is open goes on; "fast" ends a subscriber's delay;
 * "end" disconnects and ends. On stdout: "ready" when it is connected and subscribed, with the
 * server's session-present flag; "lost" when the connection is gone. Then it connects again, with
 * what libmosquitto remembers of its session, or ends if it was told to leave.
 */
#include <fcntl.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PUBLISHERS = 16, PACKET_IDS = 65536, SIZE_MAX_BYTES = 65536 };

struct head {
    _Atomic uint32_t sent, acked, refused, received; /* messages */
    _Atomic uint32_t disorder; /* came for the first time behind a later one of its publisher */
    _Atomic uint32_t connects, present; /* CONNACKs, and those with a session */
    uint32_t count;                     /* messages of one publisher, at most */
    uint32_t pad[8];
};

static struct {
    int port, version, clean, qos, retain, index, window, size, slots, delay_us, count, leave;
    const char *id, *topic, *file, *since;
} o = {.version = 4, .clean = 1, .window = 1000, .size = 128, .count = 100000};

static struct mosquitto *client;
static struct head *head;
static _Atomic uint8_t *seen;
static uint32_t number_of[PACKET_IDS]; /* publisher: which message has this id */
static uint32_t last[PUBLISHERS];
static bool is_connected;
static atomic_bool is_stopped, is_ended, is_fast;

static void say(const char *text, int value)
{
    printf("%s %d\n", text, value);
    (void)fflush(stdout);
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void ask_for_messages(void)
{
    mosquitto_property *properties = NULL;
    if (o.since)
        mosquitto_property_add_string_pair(
            &properties, MQTT_PROP_USER_PROPERTY, "parley-since", o.since);
    mosquitto_subscribe_v5(client, NULL, o.topic, o.qos, 0, properties);
    mosquitto_property_free_all(&properties);
}

static void on_connect(
    struct mosquitto *m, void *closure, int code, int flags, const mosquitto_property *properties)
{
    (void)m, (void)closure, (void)properties;
    if (code) {
        say("refused", code);
        return;
    }
    head->connects++;
    head->present += (uint32_t)(flags & 1);
    is_connected = true;
    if (o.index < 0 && !(flags & 1))
        ask_for_messages();
    else
        say("ready", flags & 1);
}

static void on_disconnect(struct mosquitto *m, void *closure, int code, const mosquitto_property *p)
{
    (void)m, (void)closure, (void)p;
    is_connected = false;
    say("lost", code);
    if (o.leave)
        exit(0);
}

static void on_subscribe(struct mosquitto *m, void *closure, int id, int count, const int *granted)
{
    (void)m, (void)closure, (void)id;
    if (count > 0 && granted[0] < 128)
        say("ready", 0);
    else
        say("refused", granted[0]);
}

/* PUBACK, PUBCOMP; in version 5 with a reason. */
static void on_publish(
    struct mosquitto *m, void *closure, int id, int reason, const mosquitto_property *p)
{
    (void)m, (void)closure, (void)p;
    uint32_t number = number_of[id & (PACKET_IDS - 1)];
    if (reason < 128) {
        seen[(uint32_t)o.index * head->count + number]++;
        head->acked++;
    } else {
        head->refused++;
    }
}

static void on_message(struct mosquitto *m, void *closure, const struct mosquitto_message *msg,
    const mosquitto_property *p)
{
    uint32_t stamp[2];
    (void)m, (void)closure, (void)p;
    if (o.delay_us && !is_fast)
        usleep((useconds_t)o.delay_us);
    if (msg->payloadlen < (int)sizeof stamp)
        return;
    memcpy(stamp, msg->payload, sizeof stamp);
    if (stamp[0] >= PUBLISHERS || stamp[1] >= head->count)
        return;
    _Atomic uint8_t *times = &seen[stamp[0] * head->count + stamp[1]];
    if (!*times) {
        head->disorder += stamp[1] < last[stamp[0]];
        last[stamp[0]] = stamp[1];
    }
    *times += *times < 255;
    head->received++;
}

static void on_log(struct mosquitto *m, void *closure, int level, const char *text)
{
    (void)m, (void)closure, (void)level;
    (void)fprintf(stderr, "%s\n", text);
}

static int publish(uint32_t number)
{
    static char payload[SIZE_MAX_BYTES];
    char topic[256];
    uint32_t stamp[2] = {(uint32_t)o.index, number};
    int id = 0, size = o.size;
    /* Now and then a large one. */
    if (number % 997 == 996)
        size = 20000;
    memcpy(payload, stamp, sizeof stamp);
    (void)snprintf(topic, sizeof topic, "%s/%u", o.topic, o.slots ? number % (uint32_t)o.slots : 0);
    /* No acknowledgement is read in here: one thread does all. */
    int code = mosquitto_publish_v5(client, &id, topic, size, payload, o.qos, o.retain, NULL);
    number_of[id & (PACKET_IDS - 1)] = number;
    return code;
}

static void publish_what_fits(void)
{
    while (is_connected && !is_stopped && head->sent < head->count &&
           head->sent - head->acked - head->refused < (uint32_t)o.window) {
        int code = publish(head->sent++);
        if (code != MOSQ_ERR_SUCCESS && code != MOSQ_ERR_NO_CONN && code != MOSQ_ERR_CONN_LOST)
            say("refused", code);
    }
}

static void *read_commands(void *closure)
{
    char line[64];
    (void)closure;
    while (fgets(line, sizeof line, stdin) && strncmp(line, "end", 3) != 0) {
        is_stopped |= !strncmp(line, "stop", 4);
        is_fast |= !strncmp(line, "fast", 4);
    }
    is_ended = true;
    return NULL;
}

static void read_options(int argc, char **argv)
{
    const struct {
        const char *name;
        int *number;
        const char **text;
    } known[] = {{"port", &o.port, NULL}, {"version", &o.version, NULL}, {"clean", &o.clean, NULL},
        {"qos", &o.qos, NULL}, {"retain", &o.retain, NULL}, {"index", &o.index, NULL},
        {"window", &o.window, NULL}, {"size", &o.size, NULL}, {"slots", &o.slots, NULL},
        {"delay_us", &o.delay_us, NULL}, {"count", &o.count, NULL}, {"leave", &o.leave, NULL},
        {"id", NULL, &o.id}, {"topic", NULL, &o.topic}, {"file", NULL, &o.file},
        {"since", NULL, &o.since}};
    for (int i = 2; i < argc; i++) {
        const char *value = strchr(argv[i], '=');
        for (size_t k = 0; value && k < sizeof known / sizeof *known; k++)
            if (strlen(known[k].name) == (size_t)(value - argv[i]) &&
                !strncmp(known[k].name, argv[i], (size_t)(value - argv[i]))) {
                if (known[k].number)
                    *known[k].number = atoi(value + 1);
                else
                    *known[k].text = value + 1;
            }
    }
    if (strcmp(argv[1], "publish") != 0)
        o.index = -1;
}

static void map_file(void)
{
    size_t size = sizeof *head + (size_t)PUBLISHERS * (size_t)o.count;
    int fd = open(o.file, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)size))
        die(o.file);
    void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED)
        die(o.file);
    head = bytes;
    head->count = (uint32_t)o.count;
    seen = (_Atomic uint8_t *)bytes + sizeof *head;
}

static int start(void)
{
    mosquitto_property *properties = NULL;
    mosquitto_lib_init();
    client = mosquitto_new(o.id, o.clean, NULL);
    if (!client)
        die("mosquitto_new");
    mosquitto_int_option(client, MOSQ_OPT_PROTOCOL_VERSION, o.version);
    mosquitto_int_option(client, MOSQ_OPT_TCP_NODELAY, 1);
    mosquitto_int_option(client, MOSQ_OPT_SEND_MAXIMUM, 65535);
    if (getenv("PEER_LOG"))
        mosquitto_log_callback_set(client, on_log);
    mosquitto_connect_v5_callback_set(client, on_connect);
    mosquitto_disconnect_v5_callback_set(client, on_disconnect);
    mosquitto_subscribe_callback_set(client, on_subscribe);
    mosquitto_publish_v5_callback_set(client, on_publish);
    mosquitto_message_v5_callback_set(client, on_message);
    if (!o.clean && o.version == MQTT_PROTOCOL_V5)
        mosquitto_property_add_int32(&properties, MQTT_PROP_SESSION_EXPIRY_INTERVAL, 3600);
    int code = mosquitto_connect_bind_v5(client, "127.0.0.1", o.port, 60, NULL, properties);
    mosquitto_property_free_all(&properties);
    return code;
}

/* Connects again for as long as it takes. */
static void run(void)
{
    while (!is_ended) {
        int code = mosquitto_loop(client, 10, 1);
        if (o.index >= 0)
            publish_what_fits();
        if (code && !is_ended) {
            say("error", code);
            usleep(5000);
            (void)mosquitto_reconnect(client);
        }
    }
    if (is_connected)
        mosquitto_disconnect(client);
}

int main(int argc, char **argv)
{
    pthread_t commands;
    if (argc < 3)
        return 2;
    read_options(argc, argv);
    map_file();
    int code = start();
    if (code) {
        say("refused", code);
        return 1;
    }
    pthread_create(&commands, NULL, read_commands, NULL);
    run();
    return 0;
}
