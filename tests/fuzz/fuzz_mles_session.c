/*
 * Three Mles connections on two reactors over the real core. A line is a frame, see rig.h.
 *
 * The first byte says how they are configured. In the rest, 0x1D, 0x1E and 0x1F say whose bytes
 * follow, 0x1C lets everything run, 0x1B lets that connection vanish and brings a new one, 0x1A
 * lets time pass, 0x19 is a sign of life. 0x18, 0x17 and 0x16 stand for first frames: of one name,
 * of another, and with a key.
 */
#include "sessions.h"

#include "codec/mles.h"
#include "protocols/mles/mles.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { KEY = 1, STUCK = 2, SMALL = 4, TWO_WORKERS = 8, ROLE = 16, FEW = 32 };

static struct pl_identity *identify_member(struct rig *rig, const struct pl_credentials *shown)
{
    (void)rig;
    rig_require(!shown->has_user && !shown->has_password, "nothing but the key is shown");
    if (shown->has_shared_key && !shown->is_shared_key_right)
        return NULL;
    return shown->shared_role ? identify(rig, &(struct pl_credentials){.has_user = true,
                                                  .user = pl_bytes_text(shown->shared_role)})
                              : pl_identity_new_all("", "all");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const headers[] = {
        "{\"uid\":\"alice\",\"channel\":\"u.example\",\"auth\":\"b4a9a15cdd7c8094\"}\n",
        "{\"uid\":\"b\",\"channel\":\"u.room\"}\n", "{\"uid\":\"a\",\"channel\":\"u.room\"}\n"};
    static struct rig rig;
    if (!size)
        return 0;
    uint8_t mode = data[0];
    uint32_t workers = mode & TWO_WORKERS ? 2 : 1;
    struct pl_mles_options options = pl_mles_options_default;
    rig_init(&rig, workers);
    rig.identify = identify_member;
    rig.framing = PL_FRAMING_MESSAGES;
    rig.subprotocol = PL_MLES_SUBPROTOCOL;
    options.has_key = mode & KEY;
    options.key = PL_BYTES("secret-key");
    options.role = mode & ROLE ? "u" : NULL;
    rig.config.options = &options;
    pl_realm_set_claims(rig.realm,
        &(struct pl_history_claims){.subjects = mode & FEW ? 1 : 10, .limit = 3, .age_ms = 10000});
    if (mode & SMALL)
        rig.out_max = 256;
    struct rig_peer *peers[3];
    for (uint32_t i = 0; i < 3; i++)
        peers[i] = rig_open(&rig, &pl_mles_protocol, i % workers);
    peers[2]->is_stuck = mode & STUCK;
    uint32_t at = 0;
    for (size_t i = 1; i < size; i++) {
        switch (data[i]) {
        case 0x16:
        case 0x17:
        case 0x18:
            rig_write(peers[at], headers[data[i] - 0x16]);
            break;
        case 0x19:
            peers[at]->bytes_in++;
            break;
        case 0x1A:
            rig_pass(&rig, 1500);
            break;
        case 0x1B:
            peers[at] = replace(&rig, peers[at], &pl_mles_protocol, at % workers);
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
