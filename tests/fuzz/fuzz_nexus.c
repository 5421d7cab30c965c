/* A configuration of nexusd is refused with a line, or becomes one of ours, which is read or
 * refused the same way. */
#include "server/config.h"
#include "server/nexus.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct pl_nexus_flags none = {0};
    struct pl_config_sources sources = {0};
    struct pl_config *config = NULL;
    struct pl_shared *text = NULL;
    struct pl_diag diag = {{0}, 0};
    enum pl_err err = pl_nexus_translate("f", pl_bytes_of(data, size), &none, &text, &diag);
    PL_ASSERT((err == PL_OK) == (text != NULL));
    if (!err)
        err = pl_config_parse(&sources, "f", pl_bytes_of(text->data, text->len), &config, &diag);
    PL_ASSERT((err == PL_OK) == (config != NULL));
    PL_ASSERT(err == PL_OK || diag.text[0]);
    pl_config_free(config);
    pl_shared_unref(text);
    return 0;
}
