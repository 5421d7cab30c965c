/* Values of MessagePack. */
#include "values.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_values(PL_SERIAL_MSGPACK, data, size);
}
