/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * A client of xenstore (Xen, docs/misc/xenstore.txt, public/io/xs_wire.h) that knows one thing: to watch
 * control/shutdown, to acknowledge `poweroff` with an empty value, and then to power off.
 */
#include "xen.h"

#define SHUTDOWN "control/shutdown"

enum {
	XS_READ = 2,
	XS_WATCH = 4,
	XS_WRITE = 11,
	XS_WATCH_EVENT = 15,
};

/* Our own, to know the reply by. */
enum request { ANNOUNCE = 1, WATCH, ASK, ACKNOWLEDGE };

struct header {
	uint32_t type, request, transaction, length;
};

struct ring {
	char requests[1024], replies[1024];
	volatile uint32_t request_read, request_written, reply_read, reply_written;
};

static struct ring *ring;
static uint32_t port;

/* The reply that is arriving: any number of its bytes may be here. */
static struct {
	struct header header;
	char text[sizeof("poweroff")]; /* of a longer one, the beginning */
	uint32_t received; /* of header and text */
} reply;

/* ---- requests ---- */

/* Four short requests are all that ever lies in the ring of 1024 bytes. */
static void put(const void *bytes, size_t length)
{
	for (const char *byte = bytes; length--; byte++) {
		ring->requests[ring->request_written % sizeof(ring->requests)] = *byte;
		barrier();
		ring->request_written++;
	}
}

/* The payload: strings, of which each but the value of a WRITE ends with NUL. */
static void send(uint32_t type, enum request request, const char *payload, uint32_t length)
{
	const struct header header = { .type = type, .request = request, .length = length };

	put(&header, sizeof(header));
	put(payload, length);
	event_send(port);
}

#define SEND(type, request, payload) send(type, request, payload, sizeof(payload))
/* Without the NUL that C adds. */
#define SEND_VALUE(type, request, payload) send(type, request, payload, sizeof(payload) - 1)

/* ---- replies ---- */

/* The first event comes by itself; then the value is missing or empty, and is left alone. */
static void handle_reply(void)
{
	static const char poweroff[] = "poweroff";

	if (reply.header.type == XS_WATCH_EVENT) {
		SEND(XS_READ, ASK, SHUTDOWN);
		return;
	}
	if (reply.header.request == ACKNOWLEDGE)
		asked_to_power_off(SHUTDOWN);
	if (reply.header.request != ASK || reply.header.type != XS_READ || reply.header.length != sizeof(poweroff) - 1)
		return;
	for (size_t i = 0; i < sizeof(poweroff) - 1; i++)
		if (reply.text[i] != poweroff[i])
			return;
	SEND(XS_WRITE, ACKNOWLEDGE, SHUTDOWN);
}

static void receive_byte(char byte)
{
	size_t in_text = reply.received - sizeof(reply.header);

	if (reply.received < sizeof(reply.header))
		((char *)&reply.header)[reply.received] = byte;
	else if (in_text < sizeof(reply.text))
		reply.text[in_text] = byte;
	reply.received++;
	if (reply.received >= sizeof(reply.header) && reply.received - sizeof(reply.header) == reply.header.length) {
		reply.received = 0;
		handle_reply();
	}
}

void xenstore_receive(void)
{
	if (ring->reply_read == ring->reply_written)
		return;
	while (ring->reply_read != ring->reply_written) {
		char byte;

		barrier();
		byte = ring->replies[ring->reply_read % sizeof(ring->replies)];
		barrier();
		ring->reply_read++;
		receive_byte(byte);
	}
	event_send(port);
}

uint32_t xenstore_port(void) { return port; }

void xenstore_init(void)
{
	ring = (struct ring *)(hvm_param(HVM_PARAM_STORE_PFN) * PAGE_SIZE);
	port = (uint32_t)hvm_param(HVM_PARAM_STORE_EVTCHN);
	SEND_VALUE(XS_WRITE, ANNOUNCE, "control/feature-poweroff\0" "1");
	SEND(XS_WATCH, WATCH, SHUTDOWN "\0" "shutdown");
}
