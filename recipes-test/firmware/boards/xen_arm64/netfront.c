/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * The network interface of a domain, whose other end is in Dom0 (Xen, public/io/netif.h, ring.h and xenbus.h): the first one,
 * with one queue and one event channel. A frame is one piece of one page, with a complete checksum; we ask for nothing else.
 *
 * Xenstore is where the ends meet: each has a directory there, and tells its state in it. All else goes over two rings.
 */
#include "xen.h"

#define FRONTEND "device/vif/0/"
#define PATIENCE 5000u /* milliseconds */

enum {
	RING_SIZE = 256, /* what fits into a page, rounded down to a power of two */
	RECEIVE_PAGES = 32,
	SEND_PAGES = 8,

	XenbusStateInitWait = 2,
	XenbusStateConnected = 4,

	NETRXF_more_data = 1 << 2,
};

/* Indices count entries and wrap on their own. An event is sent to who waits for the index that it asked for. */
struct ring {
	volatile uint32_t requests, wanted_request, responses, wanted_response;
	uint8_t padding[48];
};

struct send_ring {
	struct ring ring;
	union {
		struct {
			uint32_t grant;
			uint16_t offset, flags, id, length;
		} request;
		struct {
			uint16_t id;
			int16_t status;
		} response;
	} entries[RING_SIZE];
};

struct receive_ring {
	struct ring ring;
	union {
		struct {
			uint16_t id, padding;
			uint32_t grant;
		} request;
		struct {
			uint16_t id, offset, flags;
			int16_t status; /* the length, or a negative number */
		} response;
	} entries[RING_SIZE];
};

_Static_assert(sizeof(struct send_ring) == 64 + RING_SIZE * 12, "as public/io/netif.h lays it out");
_Static_assert(sizeof(struct receive_ring) == 64 + RING_SIZE * 8, "as public/io/netif.h lays it out");

static union { struct send_ring ring; uint8_t page[PAGE_SIZE]; } send_page __attribute__((aligned(PAGE_SIZE)));
static union { struct receive_ring ring; uint8_t page[PAGE_SIZE]; } receive_page __attribute__((aligned(PAGE_SIZE)));
static struct send_ring *const sending = &send_page.ring;
static struct receive_ring *const receiving = &receive_page.ring;

static uint8_t send_pages[SEND_PAGES][PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static uint8_t receive_pages[RECEIVE_PAGES][PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static uint32_t send_grants[SEND_PAGES], receive_grants[RECEIVE_PAGES];

static uint32_t port;
static uint32_t sends_done, received; /* responses that were taken */
static uint32_t pages_under_way; /* a bit for each of send_pages */
static bool is_announced;
static uint8_t own_mac[6];

/* ---- sending ---- */

static void take_back(void)
{
	while (sends_done != sending->ring.responses) {
		uint16_t id;

		barrier();
		id = sending->entries[sends_done % RING_SIZE].response.id;
		if (id < SEND_PAGES)
			pages_under_way &= ~(1u << id);
		sends_done++;
	}
}

void board_net_send(const void *frame, size_t length)
{
	uint16_t id = 0;

	take_back();
	while (id < SEND_PAGES && pages_under_way >> id & 1)
		id++;
	if (id == SEND_PAGES || length > PAGE_SIZE)
		return;
	pages_under_way |= 1u << id;
	for (size_t i = 0; i < length; i++)
		send_pages[id][i] = ((const uint8_t *)frame)[i];
	sending->entries[sending->ring.requests % RING_SIZE].request.grant = send_grants[id];
	sending->entries[sending->ring.requests % RING_SIZE].request.offset = 0;
	sending->entries[sending->ring.requests % RING_SIZE].request.flags = 0;
	sending->entries[sending->ring.requests % RING_SIZE].request.id = id;
	sending->entries[sending->ring.requests % RING_SIZE].request.length = (uint16_t)length;
	barrier();
	sending->ring.requests++;
	event_send(port);
}

void board_net_pause(void)
{
	hypercall(HYPERCALL_sched_op, SCHEDOP_yield, NULL);
}

/* ---- receiving ---- */

/* Gives Dom0 a page to write a frame to. */
static void offer(uint16_t id)
{
	const uint32_t at = receiving->ring.requests % RING_SIZE;

	receiving->entries[at].request.id = id;
	receiving->entries[at].request.grant = receive_grants[id];
	barrier();
	receiving->ring.requests++;
}

/* One response, which is a frame unless something is wrong with it. */
static void take(void)
{
	static bool in_pieces;
	const uint32_t at = received++ % RING_SIZE;
	const uint16_t id = receiving->entries[at].response.id, offset = receiving->entries[at].response.offset;
	const int16_t status = receiving->entries[at].response.status;
	const bool goes_on = receiving->entries[at].response.flags & NETRXF_more_data;

	if (id >= RECEIVE_PAGES)
		return;
	if (!in_pieces && !goes_on && status > 0 && (uint32_t)offset + (uint32_t)status <= PAGE_SIZE)
		net_receive(receive_pages[id] + offset, (size_t)status);
	in_pieces = goes_on;
	offer(id);
}

void netfront_receive(void)
{
	if (!is_announced || received == receiving->ring.responses)
		return;
	do {
		while (received != receiving->ring.responses) {
			barrier();
			take();
		}
		receiving->ring.wanted_response = received + 1;
		barrier();
	} while (received != receiving->ring.responses);
	event_send(port);
}

/* ---- connecting ---- */

static bool parse_mac(const char *text, uint8_t mac[static 6])
{
	for (size_t i = 0; i < 12; i++) {
		char c = text[i / 2 * 3 + i % 2];
		uint8_t digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 0xff;

		if (digit == 0xff)
			return false;
		mac[i / 2] = (uint8_t)(mac[i / 2] << 4 | digit);
	}
	return true;
}

static bool write_number(const char *path, uint32_t number)
{
	char text[11];
	size_t at = sizeof(text) - 1;

	text[at] = '\0';
	do {
		text[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	return xenstore_write(path, text + at);
}

/* Dom0's end tells its state in its own directory, whose name is in ours. */
static bool wait_for_backend(int state)
{
	static const char below[] = "/state";
	char path[XENSTORE_TEXT + sizeof(below)], text[2];
	uint32_t start = board_uptime_ms();
	size_t length = 0;

	if (!xenstore_read(FRONTEND "backend", path, XENSTORE_TEXT))
		return false;
	while (path[length])
		length++;
	for (size_t i = 0; i < sizeof(below); i++)
		path[length + i] = below[i];
	while (!xenstore_read(path, text, sizeof(text)) || text[0] != '0' + state)
		if (board_uptime_ms() - start >= PATIENCE)
			return false;
	return true;
}

static bool open_port(void)
{
	struct {
		uint16_t domain, remote_domain;
		uint32_t port;
	} unbound = { .domain = DOMID_SELF, .remote_domain = DOM0 };

	if (hypercall(HYPERCALL_event_channel_op, EVTCHNOP_alloc_unbound, &unbound) < 0)
		return false;
	port = unbound.port;
	return true;
}

/* Rings, pages and the event channel are made once, and Dom0 is told of them. */
static bool announce(void)
{
	if (!open_port())
		return false;
	for (size_t i = 0; i < SEND_PAGES; i++)
		send_grants[i] = grant_to_dom0(send_pages[i], false);
	for (size_t i = 0; i < RECEIVE_PAGES; i++)
		receive_grants[i] = grant_to_dom0(receive_pages[i], true);
	sending->ring.wanted_request = sending->ring.wanted_response = 1;
	receiving->ring.wanted_request = receiving->ring.wanted_response = 1;
	for (uint16_t id = 0; id < RECEIVE_PAGES; id++)
		offer(id);
	is_announced = true;
	return write_number(FRONTEND "tx-ring-ref", grant_to_dom0(sending, true)) &&
	       write_number(FRONTEND "rx-ring-ref", grant_to_dom0(receiving, true)) &&
	       write_number(FRONTEND "event-channel", port) && write_number(FRONTEND "request-rx-copy", 1) &&
	       write_number(FRONTEND "feature-rx-notify", 1) && write_number(FRONTEND "feature-no-csum-offload", 1) &&
	       write_number(FRONTEND "state", XenbusStateConnected);
}

const char *board_net_start(uint8_t mac[6])
{
	char text[sizeof("00:00:00:00:00:00")];

	if (!xenstore_read(FRONTEND "mac", text, sizeof(text)))
		return "this domain has no network interface";
	if (!parse_mac(text, own_mac))
		return "the MAC of this domain's network interface is none";
	if (!is_announced && !(wait_for_backend(XenbusStateInitWait) && announce()))
		return "Dom0 is not ready for this domain's network interface";
	if (!wait_for_backend(XenbusStateConnected))
		return "Dom0 does not connect this domain's network interface";
	for (size_t i = 0; i < sizeof(own_mac); i++)
		mac[i] = own_mac[i];
	return NULL;
}
