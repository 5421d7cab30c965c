/*
 * Where a server is, as a URL.
 *
 *     [scheme://][user[:password]@]host[:port][/path]
 *     unix:/path  unix:///path
 *
 * User and password may have %HH; an IPv6 address stands in brackets.
 */
#ifndef PL_CLIENT_URL_H
#define PL_CLIENT_URL_H

#include <stdbool.h>

struct pl_url {
    char scheme[8];  /* "ws", "unix" …; "": none was given */
    char host[256];  /* without brackets; "" for a Unix socket */
    char port[16];   /* "": none was given */
    char path[1024]; /* from its '/' on, as it stands; of a Unix socket: its file, decoded */
    char user[256], password[1024];
    bool has_user, has_password;
};

/* False: it is none, or a part of it is too long. */
bool pl_url_parse(const char *text, struct pl_url *out);

#endif
