/*
 * What systemd wants to be told (sd_notify(3)): datagrams to the socket that $NOTIFY_SOCKET names.
 * Without it, nothing happens.
 */
#ifndef PL_SERVER_NOTIFY_H
#define PL_SERVER_NOTIFY_H

/* "READY=1", "STOPPING=1", "RELOADING=1\nMONOTONIC_USEC=…". Any thread. */
void pl_notify(const char *state);
/* From the home shard's tick: keeps systemd's watchdog calm, if there is one ($WATCHDOG_USEC). */
void pl_notify_watchdog(void);

#endif
