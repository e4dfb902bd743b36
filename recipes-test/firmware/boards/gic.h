/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * Arm GICv2 and GICv3 (Arm IHI 0048 and 0069), as much as one core with one interrupt needs.
 */
#ifndef GIC_H
#define GIC_H

#include "boards/arm64.h"

struct gic {
	uintptr_t distributor; /* v2 and v3 */
	uintptr_t cpu_interface; /* v2 */
	uintptr_t redistributor; /* v3, of CPU 0 */
	uint32_t interrupt; /* 16 to 31: this core's own; 32 and above: shared */
};

enum {
	GICD_CTLR = 0x000,
	GIC_IGROUPR = 0x080, /* these two in the distributor, or in the redistributor's second frame */
	GIC_ISENABLER = 0x100,
	GICD_ITARGETSR = 0x800,
	GICC_CTLR = 0x00,
	GICC_PMR = 0x04,
	GICC_IAR = 0x0c,
	GICC_EOIR = 0x10,
	GICR_WAKER = 0x14,
	GICR_SGI_BASE = 0x10000,
	GIC_SPI = 32, /* the first shared interrupt */
	GIC_SPURIOUS = 1020, /* and above: nothing to handle */
};

/* ID_AA64PFR0_EL1.GIC: the CPU interface is in system registers. */
static inline bool gic_is_v3(void)
{
	return READ("id_aa64pfr0_el1") >> 24 & 0xf;
}

static inline void gic_v2_init(const struct gic *gic)
{
	uint32_t interrupt = gic->interrupt;

	if (interrupt >= GIC_SPI)
		*(volatile uint8_t *)(gic->distributor + GICD_ITARGETSR + interrupt) = 1; /* CPU 0 */
	write32(gic->distributor + GIC_ISENABLER + interrupt / 32 * 4, 1u << interrupt % 32);
	write32(gic->distributor + GICD_CTLR, 1); /* on */
	write32(gic->cpu_interface + GICC_PMR, 0xff); /* all priorities */
	write32(gic->cpu_interface + GICC_CTLR, 1); /* on */
}

static inline void gic_v3_init(const struct gic *gic)
{
	uint32_t interrupt = gic->interrupt;
	uintptr_t frame = interrupt < GIC_SPI ? gic->redistributor + GICR_SGI_BASE : gic->distributor;

	write32(gic->redistributor + GICR_WAKER, 0);
	while (read32(gic->redistributor + GICR_WAKER) & 1 << 2)
		;
	write32(gic->distributor + GICD_CTLR, 1 << 4 | 1 << 1); /* affinity routing, group 1; IROUTER is 0 = CPU 0 */
	write32(frame + GIC_IGROUPR + interrupt / 32 * 4, 1u << interrupt % 32); /* group 1 */
	write32(frame + GIC_ISENABLER + interrupt / 32 * 4, 1u << interrupt % 32);
	WRITE("S3_0_C4_C6_0", 0xff); /* ICC_PMR_EL1: all priorities */
	WRITE("S3_0_C12_C12_7", 1); /* ICC_IGRPEN1_EL1: on */
}

static inline void gic_init(const struct gic *gic)
{
	if (gic_is_v3())
		gic_v3_init(gic);
	else
		gic_v2_init(gic);
}

/* True if there is an interrupt to handle; then gic_end() has to follow, with the same token. */
static inline bool gic_begin(const struct gic *gic, uint32_t *token)
{
	*token = gic_is_v3() ? (uint32_t)READ("S3_0_C12_C12_0") /* ICC_IAR1_EL1 */ : read32(gic->cpu_interface + GICC_IAR);
	return (*token & 0x3ff) < GIC_SPURIOUS;
}

static inline void gic_end(const struct gic *gic, uint32_t token)
{
	if (gic_is_v3())
		WRITE("S3_0_C12_C12_1", token); /* ICC_EOIR1_EL1 */
	else
		write32(gic->cpu_interface + GICC_EOIR, token);
}

#endif
