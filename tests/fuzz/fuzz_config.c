/* A configuration is read or refused with a line; and one that is read can be freed. */
#include "server/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pl_config_sources sources = {0};
    struct pl_config *config = NULL;
    struct pl_diag diag = {{0}, 0};
    enum pl_err err = pl_config_parse(&sources, "f", pl_bytes_of(data, size), &config, &diag);
    PL_ASSERT((err == PL_OK) == (config != NULL));
    PL_ASSERT(err == PL_OK || diag.text[0]);
    pl_config_free(config);
    return 0;
}
