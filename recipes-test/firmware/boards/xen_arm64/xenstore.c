/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * A client of xenstore (Xen, docs/misc/xenstore.txt, public/io/xs_wire.h). By itself it watches control/shutdown,
 * acknowledges `poweroff` with an empty value, and then powers off; and it reads and writes what others ask it to.
 */
#include "xen.h"

#define SHUTDOWN "control/shutdown"

enum {
	XS_READ = 2,
	XS_WATCH = 4,
	XS_WRITE = 11,
	XS_WATCH_EVENT = 15,
	XS_ERROR = 16,
};

/* Our own, to know the reply by. */
enum request { ANNOUNCE = 1, WATCH, ASK, ACKNOWLEDGE, CALL };

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
	char text[XENSTORE_TEXT]; /* of a longer one, the beginning */
	uint32_t received; /* of header and text */
} reply;

/* What xenstore_read() and xenstore_write() wait for: one at a time. */
static struct {
	volatile enum { WAITING, REFUSED, DONE } state;
	char *text; /* NULL where nobody wants to know */
	size_t size;
} call;

/* ---- requests ---- */

/* Five short requests are all that ever lies in the ring of 1024 bytes. */
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

static void handle_call(void)
{
	uint32_t length = reply.header.length;

	if (reply.header.type == XS_ERROR || (call.text && (length >= call.size || length > sizeof(reply.text)))) {
		call.state = REFUSED;
		return;
	}
	if (call.text) {
		for (uint32_t i = 0; i < length; i++)
			call.text[i] = reply.text[i];
		call.text[length] = '\0';
	}
	call.state = DONE;
}

/* The first event comes by itself; then the value is missing or empty, and is left alone. */
static void handle_reply(void)
{
	static const char poweroff[] = "poweroff";

	if (reply.header.type == XS_WATCH_EVENT) {
		SEND(XS_READ, ASK, SHUTDOWN);
		return;
	}
	if (reply.header.request == CALL) {
		handle_call();
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

/* ---- for others ---- */

static size_t length_of(const char *text)
{
	size_t length = 0;

	while (text[length])
		length++;
	return length;
}

/* Sends a request and sleeps until its reply is there. */
static bool call_and_wait(uint32_t type, const char *path, const char *value)
{
	const uint32_t path_length = (uint32_t)length_of(path) + 1, value_length = (uint32_t)length_of(value);
	const struct header header = { .type = type, .request = CALL, .length = path_length + value_length };

	cpu_interrupts_off();
	call.state = WAITING;
	put(&header, sizeof(header));
	put(path, path_length);
	put(value, value_length);
	event_send(port);
	while (call.state == WAITING)
		arm64_wait_for_interrupt();
	cpu_interrupts_on();
	return call.state == DONE;
}

bool xenstore_read(const char *path, char *text, size_t size)
{
	call.text = text;
	call.size = size;
	return call_and_wait(XS_READ, path, "");
}

bool xenstore_write(const char *path, const char *text)
{
	call.text = NULL;
	return call_and_wait(XS_WRITE, path, text);
}

uint32_t xenstore_port(void) { return port; }

void xenstore_init(void)
{
	ring = (struct ring *)(hvm_param(HVM_PARAM_STORE_PFN) * PAGE_SIZE);
	port = (uint32_t)hvm_param(HVM_PARAM_STORE_EVTCHN);
	SEND_VALUE(XS_WRITE, ANNOUNCE, "control/feature-poweroff\0" "1");
	SEND(XS_WATCH, WATCH, SHUTDOWN "\0" "shutdown");
}
