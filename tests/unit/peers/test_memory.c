#include "check.h"

#include "peers/memory.h"

static uint64_t before;

TEST(a_frame_is_new_once)
{
    struct pl_peer_memory *m = pl_peer_memory_new(100);
    CHECK(!pl_peer_memory_note(m, 7, 1, &before));
    CHECK(pl_peer_memory_note(m, 7, 2, &before));
    CHECK_EQ(before, 1);
    CHECK(pl_peer_memory_note(m, 7, 0, &before));
    CHECK_EQ(before, 3);
    CHECK_EQ(pl_peer_memory_count(m), 1);
    pl_peer_memory_free(m);
}

TEST(a_peer_that_may_have_lost_everything_is_forgotten_and_the_frames_are_not)
{
    struct pl_peer_memory *m = pl_peer_memory_new(1000);
    for (uint64_t i = 0; i < 300; i++)
        pl_peer_memory_note(m, i * 64, 3, &before);
    pl_peer_memory_forget_peer(m, 1);
    for (uint64_t i = 0; i < 300; i++) {
        CHECK(pl_peer_memory_note(m, i * 64, 0, &before));
        CHECK_EQ(before, 2);
    }
    pl_peer_memory_free(m);
}

TEST(the_oldest_is_forgotten_first)
{
    static const uint32_t caps[] = {1, 2, 63, 64, 65, 200};
    for (size_t c = 0; c < sizeof caps / sizeof *caps; c++) {
        struct pl_peer_memory *m = pl_peer_memory_new(caps[c]);
        for (uint64_t i = 0; i < 1000; i++) {
            CHECK(!pl_peer_memory_note(m, i, 0, &before));
            uint64_t kept = i + 1 < caps[c] ? i + 1 : caps[c];
            CHECK_EQ(pl_peer_memory_count(m), kept);
            CHECK(pl_peer_memory_note(m, i + 1 - kept, 0, &before));
        }
        /* What is behind the edge is new again. */
        CHECK(!pl_peer_memory_note(m, 999 - caps[c], 0, &before));
        pl_peer_memory_free(m);
    }
}
