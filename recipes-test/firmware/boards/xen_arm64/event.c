/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * Event channels, with the two-level interface (Xen, public/xen.h: struct shared_info; public/event_channel.h).
 * Which one fired does not matter here: whoever is woken looks at everything.
 */
#include "xen.h"

struct shared_info {
	struct {
		uint8_t upcall_pending;
		uint8_t upcall_mask;
		uint64_t pending_words;
		uint32_t time[8];
	} vcpu;
	uint64_t pending[64];
	uint64_t mask[64];
};

_Static_assert(offsetof(struct shared_info, pending) == 48, "as Xen lays it out on arm64");

static struct shared_info *const info = (struct shared_info *)SHARED_INFO;

void event_init(void)
{
	map_page(XENMAPSPACE_shared_info, SHARED_INFO);
}

void event_send(uint32_t port)
{
	barrier();
	hypercall(HYPERCALL_event_channel_op, EVTCHNOP_send, &port);
}

/* From the outside in: Xen sets them the other way round. */
void event_clear(void)
{
	uint64_t words;

	__atomic_store_n(&info->vcpu.upcall_pending, 0, __ATOMIC_SEQ_CST);
	words = __atomic_exchange_n(&info->vcpu.pending_words, 0, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < COUNT(info->pending); i++)
		if (words >> i & 1)
			__atomic_store_n(&info->pending[i], 0, __ATOMIC_SEQ_CST);
}

void event_wait(const uint32_t *ports, size_t count)
{
	const struct {
		const uint32_t *ports;
		uint32_t count;
		uint64_t timeout;
	} poll = { .ports = ports, .count = (uint32_t)count };

	hypercall(HYPERCALL_sched_op, SCHEDOP_poll, &poll);
}
