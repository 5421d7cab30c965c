/*
 * Three Redis connections on two reactors over the real core.
 *
 * The first byte says how they are configured. In the rest, 0x1D, 0x1E and 0x1F say whose bytes
 * follow, 0x1C lets everything run, 0x1B lets that connection vanish and brings a new one, 0x1A
 * lets time pass.
 */
#include "sessions.h"

#include "protocols/redis/redis.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LOGIN = 1, SHARED = 2, SMALL = 4, TWO_WORKERS = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rig rig;
    if (!size)
        return 0;
    uint8_t mode = data[0];
    uint32_t workers = mode & TWO_WORKERS ? 2 : 1;
    rig_init(&rig, workers);
    rig.identify = identify;
    rig.config.requires_login = mode & LOGIN;
    rig.config.is_shared = mode & SHARED;
    if (mode & SMALL) {
        rig.out_max = 512;
        rig.config.packet_max = 256;
    }
    struct rig_peer *peers[3];
    for (uint32_t i = 0; i < 3; i++)
        peers[i] = rig_open(&rig, &pl_redis_protocol, i % workers);
    uint32_t at = 0;
    for (size_t i = 1; i < size; i++) {
        switch (data[i]) {
        case 0x1A:
            rig_pass(&rig, 4000);
            break;
        case 0x1B:
            peers[at] = replace(&rig, peers[at], &pl_redis_protocol, at % workers);
            break;
        case 0x1C:
            rig_run(&rig);
            break;
        case 0x1D:
        case 0x1E:
        case 0x1F:
            at = data[i] - 0x1Du;
            break;
        default:
            rig_send(peers[at], &data[i], 1);
            break;
        }
    }
    rig_run(&rig);
    rig_done(&rig);
    return 0;
}
