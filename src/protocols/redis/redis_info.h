/* What we say that we are. */
#ifndef PL_PROTOCOLS_REDIS_REDIS_INFO_H
#define PL_PROTOCOLS_REDIS_REDIS_INFO_H

/* Clients choose by it what they may ask for: this release is the first with all of our commands.
 */
#define PL_REDIS_VERSION "7.2.0"

#endif
