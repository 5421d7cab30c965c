/*
 * One MQTT connection that says anything: a whole byte stream, in pieces, over the real core. The
 * first byte chooses how it begins, so that the fuzzer need not find CONNECT first.
 */
#include "protocols/rig.h"

#include "protocols/mqtt/mqtt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool everybody(void *context, const struct pl_session *session)
{
    (void)context;
    (void)session;
    return true;
}

static const char connect_3[] = "\x10\x10\0\4MQTT\4\0\0\0\0\4name";
static const char connect_5[] = "\x10\x19\0\4MQTT\5\0\0\0\x08\x11\0\0\0\x09\x22\0\2\0\4name";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rig rig;
    if (size < 2)
        return 0;
    rig_init(&rig, 1);
    struct rig_peer *p = rig_open(&rig, &pl_mqtt_protocol, 0);
    if (data[0] & 1)
        rig_send(p, connect_5, sizeof connect_5 - 1);
    else if (data[0] & 2)
        rig_send(p, connect_3, sizeof connect_3 - 1);
    size_t piece = data[1] ? (size_t)data[1] * 4 : size;
    for (size_t at = 2; at < size; at += piece) {
        rig_send(p, data + at, size - at < piece ? size - at : piece);
        rig_run(&rig);
        if (data[0] & 4)
            rig_pass(&rig, 700);
    }
    rig_cut(p);
    rig_pass(&rig, 100000);
    (void)pl_realm_end_sessions(rig.realm, &rig.workers[0], everybody, NULL, PL_DRAINING);
    rig_run(&rig);
    rig_done(&rig);
    return 0;
}
