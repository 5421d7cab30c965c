#include "codec/http.h"
#include "protocols/protocol.h"

struct pl_bytes pl_link_request_token(struct pl_link *link)
{
    const struct pl_link_host *host = link->host;
    if (!link->is_websocket)
        return PL_NO_BYTES;
    struct pl_bytes token = pl_http_bearer(host->request_header(link, "authorization"));
    if (!token.len)
        token = host->request_query(link, "token");
    if (!token.len && link->is_ambient_allowed)
        token = pl_http_cookie(host->request_header(link, "cookie"), "token");
    return token;
}
