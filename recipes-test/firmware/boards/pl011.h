/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * Arm PL011 UART, as much of it as the boards of QEMU and Xen need (Arm DDI 0183, "Programmers Model").
 * Both ignore pins, clocks and baud rates, so nothing here sets them.
 */
#ifndef PL011_H
#define PL011_H

#include "board.h"

enum {
	PL011_DR = 0x00,
	PL011_FR = 0x18,
	PL011_LCR_H = 0x2c,
	PL011_CR = 0x30,
	PL011_IMSC = 0x38,
};

enum {
	PL011_FR_BUSY = 1 << 3,
	PL011_FR_RX_EMPTY = 1 << 4,
	PL011_FR_TX_FULL = 1 << 5,
	PL011_LCR_H_8_BITS = 3 << 5,
	PL011_CR_ENABLE_RX_TX = 1 << 9 | 1 << 8 | 1 << 0,
	PL011_INT_RX = 1 << 4,
	PL011_INT_RX_TIMEOUT = 1 << 6, /* the only one of fewer bytes than half a FIFO, where that is on */
};

static inline bool pl011_has_input(uintptr_t base)
{
	return !(read32(base + PL011_FR) & PL011_FR_RX_EMPTY);
}

static inline char pl011_get(uintptr_t base)
{
	return (char)read32(base + PL011_DR);
}

static inline void pl011_put(uintptr_t base, char c)
{
	while (read32(base + PL011_FR) & PL011_FR_TX_FULL)
		;
	write32(base + PL011_DR, (unsigned char)c);
}

/* Returns when the last byte has left: what comes next may end the machine. */
static inline void pl011_flush(uintptr_t base)
{
	while (read32(base + PL011_FR) & PL011_FR_BUSY)
		;
}

static inline void pl011_receive_interrupt(uintptr_t base, bool on)
{
	write32(base + PL011_IMSC, on ? PL011_INT_RX | PL011_INT_RX_TIMEOUT : 0);
}

static inline void pl011_init(uintptr_t base)
{
	/*
	 * The FIFOs stay off: QEMU 7.2 garbles what a client has already sent when they are switched on. Without them
	 * it hands over one byte at a time and keeps the sender waiting.
	 */
	write32(base + PL011_LCR_H, PL011_LCR_H_8_BITS);
	write32(base + PL011_CR, PL011_CR_ENABLE_RX_TX);
	pl011_receive_interrupt(base, true);
}

#endif
