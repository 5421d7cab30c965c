/* The runner of the tests is itself a thing that can be wrong. */
#include "check.h"

TEST(a_claim_that_holds_passes)
{
    CHECK(true);
    CHECK_EQ(1 + 1, 2);
    CHECK_STR("a", "a");
    CHECK_BYTES("a\0b", 3, "a\0b", 3);
}
