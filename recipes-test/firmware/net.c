/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * ARP (RFC 826), IPv4 (RFC 791) and the echo of ICMP (RFC 792), as much as a ping needs.
 *
 * Frames come in by interrupt, and are answered there. Nothing in them is believed before it was compared with the frame's
 * length; what is not understood is dropped without a word.
 */
#include "net.h"

#define PATIENCE 1000u /* milliseconds */
#define ASK_AGAIN 250u
#define FRAME_MAX 1514u /* Ethernet's header and 1500 bytes */

enum {
	ETHERTYPE_IPV4 = 0x0800,
	ETHERTYPE_ARP = 0x0806,
	ARP_REQUEST = 1,
	ARP_REPLY = 2,
	VERSION_4_WITHOUT_OPTIONS = 0x45,
	MORE_FRAGMENTS_OR_OFFSET = 0x3fff,
	DO_NOT_FRAGMENT = 0x4000,
	TIME_TO_LIVE = 64,
	PROTOCOL_ICMP = 1,
	ECHO_REPLY = 0,
	ECHO_REQUEST = 8,
};

/* All of bytes: they may lie anywhere, and numbers have the most significant byte first. */
struct ethernet {
	uint8_t to[6], from[6], type[2];
};

struct arp {
	uint8_t hardware[2], protocol[2], mac_size, address_size, operation[2];
	uint8_t sender_mac[6];
	struct address sender;
	uint8_t target_mac[6];
	struct address target;
};

struct ip {
	uint8_t version_and_length, service, length[2], identification[2], fragment[2], time_to_live, protocol, checksum[2];
	struct address from, to;
};

struct icmp {
	uint8_t type, code, checksum[2], identifier[2], sequence[2];
};

#define ARP_FRAME (sizeof(struct ethernet) + sizeof(struct arp))
#define PING_FRAME (sizeof(struct ethernet) + sizeof(struct ip) + sizeof(struct icmp))
#define IDENTIFIER 0x4d52u

static const uint8_t everybody[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static struct {
	bool has_address;
	uint8_t mac[6];
	struct address address;
} self;

/* The ping that is under way. */
static struct {
	enum { IDLE, RESOLVING, ASKED } step;
	volatile bool answered;
	struct address target;
	uint16_t sequence;
} ping;

/* ---- bytes ---- */

static void copy(void *to, const void *from, size_t length)
{
	for (size_t i = 0; i < length; i++)
		((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
}

static bool equal(const void *a, const void *b, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (((const uint8_t *)a)[i] != ((const uint8_t *)b)[i])
			return false;
	return true;
}

static bool same(const struct address *a, const struct address *b)
{
	return equal(a, b, sizeof(*a));
}

static uint16_t number(const uint8_t bytes[static 2])
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static void set_number(uint8_t bytes[static 2], uint16_t value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

/* RFC 1071. Over what holds its own checksum it is 0. */
static uint16_t checksum(const void *from, size_t length)
{
	const uint8_t *bytes = from;
	uint32_t sum = 0;

	for (size_t i = 0; i < length; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* ---- sending; with interrupts off ---- */

static void put_ethernet(struct ethernet *ethernet, const uint8_t to[6], uint16_t type)
{
	copy(ethernet->to, to, sizeof(ethernet->to));
	copy(ethernet->from, self.mac, sizeof(ethernet->from));
	set_number(ethernet->type, type);
}

static void send_arp(uint16_t operation, const uint8_t to[6], const struct address *target)
{
	uint8_t frame[ARP_FRAME];
	struct arp *arp = (struct arp *)(frame + sizeof(struct ethernet));

	put_ethernet((struct ethernet *)frame, to, ETHERTYPE_ARP);
	set_number(arp->hardware, 1);
	set_number(arp->protocol, ETHERTYPE_IPV4);
	arp->mac_size = sizeof(arp->sender_mac);
	arp->address_size = sizeof(arp->sender);
	set_number(arp->operation, operation);
	copy(arp->sender_mac, self.mac, sizeof(arp->sender_mac));
	copy(&arp->sender, &self.address, sizeof(arp->sender));
	copy(arp->target_mac, to, sizeof(arp->target_mac));
	copy(&arp->target, target, sizeof(arp->target));
	board_net_send(frame, sizeof(frame));
}

/* Completes and sends a frame that holds an ICMP message of this length, behind room for the headers. */
static void send_icmp(uint8_t *frame, const uint8_t to[6], const struct address *target, size_t length)
{
	struct ip *ip = (struct ip *)(frame + sizeof(struct ethernet));
	struct icmp *icmp = (struct icmp *)(ip + 1);
	size_t total = sizeof(*ip) + length;

	put_ethernet((struct ethernet *)frame, to, ETHERTYPE_IPV4);
	ip->version_and_length = VERSION_4_WITHOUT_OPTIONS;
	ip->service = 0;
	set_number(ip->length, (uint16_t)total);
	set_number(ip->identification, 0);
	set_number(ip->fragment, DO_NOT_FRAGMENT);
	ip->time_to_live = TIME_TO_LIVE;
	ip->protocol = PROTOCOL_ICMP;
	set_number(ip->checksum, 0);
	copy(&ip->from, &self.address, sizeof(ip->from));
	copy(&ip->to, target, sizeof(ip->to));
	set_number(ip->checksum, checksum(ip, sizeof(*ip)));
	set_number(icmp->checksum, 0);
	set_number(icmp->checksum, checksum(icmp, length));
	board_net_send(frame, sizeof(struct ethernet) + total);
}

static void send_ping(const uint8_t to[6])
{
	uint8_t frame[PING_FRAME];
	struct icmp *icmp = (struct icmp *)(frame + sizeof(struct ethernet) + sizeof(struct ip));

	icmp->type = ECHO_REQUEST;
	icmp->code = 0;
	set_number(icmp->identifier, IDENTIFIER);
	set_number(icmp->sequence, ping.sequence);
	send_icmp(frame, to, &ping.target, sizeof(*icmp));
}

/* ---- receiving; with interrupts off ---- */

static void receive_arp(const struct arp *arp)
{
	if (number(arp->hardware) != 1 || number(arp->protocol) != ETHERTYPE_IPV4 ||
	    arp->mac_size != sizeof(arp->sender_mac) || arp->address_size != sizeof(arp->sender) ||
	    !same(&arp->target, &self.address))
		return;
	if (number(arp->operation) == ARP_REQUEST) {
		send_arp(ARP_REPLY, arp->sender_mac, &arp->sender);
	} else if (number(arp->operation) == ARP_REPLY && ping.step == RESOLVING && same(&arp->sender, &ping.target)) {
		ping.step = ASKED;
		send_ping(arp->sender_mac);
	}
}

/* The message and what follows it, `length` bytes in all. */
static void receive_icmp(const uint8_t from_mac[6], const struct address *from, const struct icmp *icmp, size_t length)
{
	static uint8_t reply[FRAME_MAX];
	struct icmp *echo = (struct icmp *)(reply + sizeof(struct ethernet) + sizeof(struct ip));

	if (icmp->code || checksum(icmp, length))
		return;
	if (icmp->type == ECHO_REQUEST) {
		copy(echo, icmp, length);
		echo->type = ECHO_REPLY;
		send_icmp(reply, from_mac, from, length);
	} else if (icmp->type == ECHO_REPLY && ping.step == ASKED && same(from, &ping.target) &&
		   number(icmp->identifier) == IDENTIFIER && number(icmp->sequence) == ping.sequence) {
		ping.step = IDLE;
		ping.answered = true;
	}
}

/* `length` bytes lie behind Ethernet's header, of which some may be padding. */
static void receive_ip(const uint8_t from_mac[6], const struct ip *ip, size_t length)
{
	size_t total = number(ip->length);

	if (ip->version_and_length != VERSION_4_WITHOUT_OPTIONS || total > length ||
	    total < sizeof(*ip) + sizeof(struct icmp) || checksum(ip, sizeof(*ip)))
		return;
	if (number(ip->fragment) & MORE_FRAGMENTS_OR_OFFSET || ip->protocol != PROTOCOL_ICMP || !same(&ip->to, &self.address))
		return;
	receive_icmp(from_mac, &ip->from, (const struct icmp *)(ip + 1), total - sizeof(*ip));
}

void net_receive(const uint8_t *frame, size_t length)
{
	const struct ethernet *ethernet = (const struct ethernet *)frame;
	const void *inside = frame + sizeof(*ethernet);

	if (!self.has_address || length < sizeof(*ethernet) || length > FRAME_MAX)
		return;
	if (!equal(ethernet->to, self.mac, sizeof(self.mac)) && !equal(ethernet->to, everybody, sizeof(everybody)))
		return;
	if (number(ethernet->type) == ETHERTYPE_ARP && length >= ARP_FRAME)
		receive_arp(inside);
	else if (number(ethernet->type) == ETHERTYPE_IPV4 && length >= PING_FRAME)
		receive_ip(ethernet->from, inside, length - sizeof(*ethernet));
}

/* ---- for commands ---- */

const char *net_take(const struct address *address)
{
	const char *why_not = board_net_start(self.mac);

	if (why_not)
		return why_not;
	cpu_interrupts_off();
	copy(&self.address, address, sizeof(self.address));
	self.has_address = true;
	cpu_interrupts_on();
	return NULL;
}

const uint8_t *net_mac(void) { return self.mac; }

/* Asks who has the address; the answer to that sends the ping. */
static void ask(void)
{
	cpu_interrupts_off();
	if (ping.step == RESOLVING)
		send_arp(ARP_REQUEST, everybody, &ping.target);
	cpu_interrupts_on();
}

const char *net_ping(const struct address *address, uint32_t *milliseconds)
{
	uint32_t start, asked;

	if (!self.has_address) {
		const char *why_not = board_net_start(self.mac);

		return why_not ? why_not : "no address yet: try net ADDRESS";
	}
	start = asked = board_uptime_ms();
	cpu_interrupts_off();
	ping.step = RESOLVING;
	ping.answered = false;
	copy(&ping.target, address, sizeof(ping.target));
	ping.sequence++;
	cpu_interrupts_on();
	ask();
	while (!ping.answered) {
		if (board_uptime_ms() - start >= PATIENCE)
			return "no answer";
		if (board_uptime_ms() - asked >= ASK_AGAIN) {
			asked += ASK_AGAIN;
			ask();
		}
		board_net_pause();
	}
	*milliseconds = board_uptime_ms() - start;
	return NULL;
}
