/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * The grant table, version 1 (Xen, public/grant_table.h): which of our pages another domain may map. One page of it is
 * enough, and nothing is ever taken back.
 */
#include "xen.h"

enum {
	FIRST_FREE = 8, /* those before are the toolstack's: GNTTAB_NR_RESERVED_ENTRIES */
	PERMIT_ACCESS = 1, /* GTF_permit_access */
	READ_ONLY = 1 << 2, /* GTF_readonly */
};

struct entry {
	volatile uint16_t flags;
	uint16_t domain;
	uint32_t frame;
};

static struct entry *const table = (struct entry *)GRANT_TABLE;
static uint32_t used = FIRST_FREE;

void grant_init(void)
{
	map_page(XENMAPSPACE_grant_table, GRANT_TABLE);
}

/* Whoever asks does so for each of his pages once, which are far fewer than the 512 entries. */
uint32_t grant_to_dom0(const void *page, bool writable)
{
	uint32_t reference = used++;

	table[reference].domain = DOM0;
	table[reference].frame = (uint32_t)((uintptr_t)page / PAGE_SIZE);
	barrier();
	table[reference].flags = writable ? PERMIT_ACCESS : PERMIT_ACCESS | READ_ONLY;
	return reference;
}
