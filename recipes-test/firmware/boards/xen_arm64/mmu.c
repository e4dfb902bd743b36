/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * Every address at itself: memory cacheable, everything else Device memory (Arm DDI 0487, D8, "VMSAv8-64").
 */
#include "xen.h"

#define GIB (1ull << 30)
#define MIB2 (2ull << 20)

/* Xen, public/arch-arm.h: GUEST_GRANT_TABLE_BASE to the end of GUEST_MAGIC_BASE, the pages that Dom0 shares with us. */
#define SHARED_START 0x38000000ull
#define SHARED_END 0x3a000000ull

enum {
	BLOCK = 1 << 0,
	TABLE = 3 << 0,
	NORMAL = 1 << 2, /* MAIR's attribute 1 */
	INNER_SHAREABLE = 3 << 8,
	ACCESSED = 1 << 10,
};

#define NEVER_EXECUTE (3ull << 53)
#define MEMORY (BLOCK | NORMAL | INNER_SHAREABLE | ACCESSED)
#define DEVICE (BLOCK | ACCESSED | NEVER_EXECUTE)

static _Alignas(PAGE_SIZE) uint64_t gibs[512];
static _Alignas(PAGE_SIZE) uint64_t first_gib[512];

void mmu_init(void)
{
	for (uint64_t i = 0; i < COUNT(first_gib); i++) {
		uint64_t at = i * MIB2;

		first_gib[i] = at | (at >= SHARED_START && at < SHARED_END ? MEMORY | NEVER_EXECUTE : DEVICE);
	}
	gibs[0] = (uintptr_t)first_gib | TABLE;
	for (uint64_t i = 1; i < 4; i++) /* GUEST_RAM0_BASE, 3 GiB */
		gibs[i] = i * GIB | MEMORY;

	WRITE("mair_el1", 0xff00); /* 0: Device-nGnRnE, 1: Normal, write-back */
	/* T0SZ: 39 bits; walks and tables inner shareable, write-back; nothing through TTBR1; 32-bit physical addresses */
	WRITE("tcr_el1", 25 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23);
	WRITE("ttbr0_el1", (uintptr_t)gibs);
	__asm__ volatile("dsb ish\n\ttlbi vmalle1\n\tic iallu\n\tdsb ish\n\tisb" : : : "memory");
	WRITE("sctlr_el1", READ("sctlr_el1") | 1 << 0 | 1 << 2 | 1 << 12); /* MMU, data cache, instruction cache */
}
