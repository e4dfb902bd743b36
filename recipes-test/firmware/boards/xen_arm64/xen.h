/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * What this board's files share, and Xen's hypercalls. Names and numbers: Xen, xen/include/public.
 */
#ifndef XEN_H
#define XEN_H

#include "boards/arm64.h"

/* ---- mmu.c ---- */

/* Memory becomes cacheable: what we share with Dom0 is in its caches. */
void mmu_init(void);

/* ---- event.c ---- */

void event_init(void);
void event_send(uint32_t port);

/* Forgets what came so far, on all ports. What is looked at after it is never out of date. */
void event_clear(void);

/* Sleeps until something comes on one of the ports, with interrupts off. Returns at once if it already did. */
void event_wait(const uint32_t *ports, size_t count);

/* ---- xenstore.c ---- */

/* Watches control/shutdown from then on. */
void xenstore_init(void);
/* Reads a text that is shorter than `size`, at most XENSTORE_TEXT; false where there is none, or a longer one. Waits. */
bool xenstore_read(const char *path, char *text, size_t size);
/* False where xenstore refuses. Waits. */
bool xenstore_write(const char *path, const char *text);
/* Called on every event. */
void xenstore_receive(void);
uint32_t xenstore_port(void);

#define XENSTORE_TEXT 64u

/* ---- grant.c ---- */

void grant_init(void);
/* Lets Dom0 read a page of ours, or write it, too, for ever. Returns the reference that it does so by. */
uint32_t grant_to_dom0(const void *page, bool writable);

/* ---- netfront.c ---- */

/* Called on every event. */
void netfront_receive(void);

/* ---- hypercalls ---- */

enum {
	HYPERCALL_memory_op = 12,
	HYPERCALL_sched_op = 29,
	HYPERCALL_event_channel_op = 32,
	HYPERCALL_hvm_op = 34,

	SCHEDOP_yield = 0,
	SCHEDOP_shutdown = 2,
	SCHEDOP_poll = 3,
	SHUTDOWN_crash = 3,

	HVMOP_get_param = 1,
	HVM_PARAM_STORE_PFN = 1,
	HVM_PARAM_STORE_EVTCHN = 2,
	HVM_PARAM_CONSOLE_PFN = 17,
	HVM_PARAM_CONSOLE_EVTCHN = 18,

	XENMEM_add_to_physmap = 7,
	XENMAPSPACE_shared_info = 0,
	XENMAPSPACE_grant_table = 1,

	EVTCHNOP_send = 4,
	EVTCHNOP_alloc_unbound = 6,
};

#define DOMID_SELF 0x7ff0u
#define DOM0 0u
#define PAGE_SIZE 4096u

/* Address space that Xen keeps free for such pages (Xen, public/arch-arm.h, GUEST_GRANT_TABLE_BASE). */
#define GRANT_TABLE 0x38000000u
#define SHARED_INFO (GRANT_TABLE + PAGE_SIZE)

/* Every hypercall here has an operation and a structure, and returns a negative number where it fails. */
static inline int64_t hypercall(uint64_t number, uint64_t operation, const void *argument)
{
	register uint64_t x16 __asm__("x16") = number;
	register uint64_t x0 __asm__("x0") = operation;
	register const void *x1 __asm__("x1") = argument;

	__asm__ volatile("hvc #0xea1" : "+r"(x0), "+r"(x1) : "r"(x16) : "memory");
	return (int64_t)x0;
}

/* Has Xen record a crash. */
static inline noreturn void xen_crash(void)
{
	const uint32_t reason = SHUTDOWN_crash;

	hypercall(HYPERCALL_sched_op, SCHEDOP_shutdown, &reason);
	for (;;)
		__asm__ volatile("wfi");
}

/* Where the toolstack put something. A domain that lacks it is useless, and mute. */
static inline uint64_t hvm_param(uint32_t index)
{
	struct {
		uint16_t domain, padding;
		uint32_t index;
		uint64_t value;
	} param = { .domain = DOMID_SELF, .index = index };

	if (hypercall(HYPERCALL_hvm_op, HVMOP_get_param, &param) < 0 || !param.value)
		xen_crash();
	return param.value;
}

/* Has a page of Xen's appear at an address. */
static inline void map_page(uint32_t space, uintptr_t address)
{
	const struct {
		uint16_t domain, size;
		uint32_t space;
		uint64_t index, frame;
	} map = { .domain = DOMID_SELF, .space = space, .frame = address / PAGE_SIZE };

	if (hypercall(HYPERCALL_memory_op, XENMEM_add_to_physmap, &map) < 0)
		xen_crash();
}

/* What was written to shared memory before this call is seen before what is written after it; the same for reads. */
static inline void barrier(void)
{
	__asm__ volatile("dmb ish" : : : "memory");
}

#endif
