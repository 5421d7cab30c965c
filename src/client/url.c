#include "client/url.h"

#include <string.h>

#include "base/text.h"

/* Copies with %HH resolved; false: it does not fit or is no text. */
static bool copy_decoded(char *to, size_t cap, const char *from, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        int byte = (uint8_t)from[i];
        if (byte == '%' && i + 2 < len && pl_hex_value((uint8_t)from[i + 1]) >= 0 &&
            pl_hex_value((uint8_t)from[i + 2]) >= 0) {
            byte = pl_hex_value((uint8_t)from[i + 1]) << 4 | pl_hex_value((uint8_t)from[i + 2]);
            i += 2;
        }
        if (n + 1 >= cap || !byte)
            return false;
        to[n++] = (char)byte;
    }
    to[n] = 0;
    return true;
}

static bool copy(char *to, size_t cap, const char *from, size_t len)
{
    if (len >= cap)
        return false;
    memcpy(to, from, len);
    to[len] = 0;
    return true;
}

static bool read_user(struct pl_url *url, const char *text, size_t len)
{
    const char *colon = memchr(text, ':', len);
    size_t user_len = colon ? (size_t)(colon - text) : len;
    url->has_user = true;
    url->has_password = colon != NULL;
    return copy_decoded(url->user, sizeof url->user, text, user_len) &&
           (!colon ||
               copy_decoded(url->password, sizeof url->password, colon + 1, len - user_len - 1));
}

/* host, host:port, [::1], [::1]:port */
static bool read_authority(struct pl_url *url, const char *text, size_t len)
{
    const char *port = memrchr(text, ':', len);
    size_t host_len = len;
    bool is_bracketed = len && *text == '[';
    if (is_bracketed) {
        const char *end = memchr(text, ']', len);
        if (!end || (end + 1 < text + len && end[1] != ':'))
            return false;
        port = end + 1 < text + len ? end + 1 : NULL;
        host_len = (size_t)(end - text) - 1;
        text++;
        len--;
    } else if (port) {
        host_len = (size_t)(port - text);
    }
    size_t port_len = port ? (size_t)(text + len - port) - 1 : 0;
    return host_len && copy_decoded(url->host, sizeof url->host, text, host_len) &&
           (!port || (port_len && copy(url->port, sizeof url->port, port + 1, port_len)));
}

bool pl_url_parse(const char *text, struct pl_url *url)
{
    *url = (struct pl_url){0};
    if (strncmp(text, "unix:", 5) == 0) {
        text += strncmp(text + 5, "//", 2) == 0 ? 7 : 5;
        return copy(url->scheme, sizeof url->scheme, "unix", 4) && *text &&
               copy_decoded(url->path, sizeof url->path, text, strlen(text));
    }
    const char *scheme = strstr(text, "://");
    if (scheme) {
        if (!copy(url->scheme, sizeof url->scheme, text, (size_t)(scheme - text)))
            return false;
        text = scheme + 3;
    }
    size_t len = strcspn(text, "/");
    if (!copy(url->path, sizeof url->path, text + len, strlen(text + len)))
        return false;
    const char *at = memrchr(text, '@', len);
    if (at) {
        if (!read_user(url, text, (size_t)(at - text)))
            return false;
        len -= (size_t)(at + 1 - text);
        text = at + 1;
    }
    return read_authority(url, text, len);
}
