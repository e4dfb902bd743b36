/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * A host of one address on an Ethernet: it answers ARP and ping, and pings itself. What a board gives for it is in board.h.
 *
 * It knows no router, no fragments and no options of IPv4: whom it talks to is on its own link.
 */
#ifndef NET_H
#define NET_H

#include "board.h"

/* An IPv4 address, in the order in which it is written. */
struct address {
	uint8_t bytes[4];
};

/* Takes an address, in place of an earlier one. Returns NULL, or why not, as one line. */
const char *net_take(const struct address *address);

/* The MAC that this host has; known once it has an address. */
const uint8_t *net_mac(void);

/* Asks whether somebody answers at an address, for a second. Returns NULL and the milliseconds, or why not, as one line. */
const char *net_ping(const struct address *address, uint32_t *milliseconds);

#endif
