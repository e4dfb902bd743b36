/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * NS16550 UART, as much of it as QEMU's boards need (QEMU, hw/char/serial.c).
 * QEMU ignores clocks and baud rates, so nothing here sets them.
 */
#ifndef NS16550_H
#define NS16550_H

#include "board.h"

/* The board says how its registers are reached, which differs. */
static void uart_write(unsigned reg, uint8_t value);
static uint8_t uart_read(unsigned reg);

enum { UART_DATA = 0, UART_IER = 1, UART_LCR = 3, UART_MCR = 4, UART_LSR = 5 };
enum { LSR_DATA = 1 << 0, LSR_ROOM = 1 << 5, LSR_SENT = 1 << 6 };

static inline bool ns16550_has_input(void)
{
	return uart_read(UART_LSR) & LSR_DATA;
}

static inline char ns16550_get(void)
{
	return (char)uart_read(UART_DATA);
}

static inline void ns16550_put(char c)
{
	while (!(uart_read(UART_LSR) & LSR_ROOM))
		;
	uart_write(UART_DATA, (uint8_t)c);
}

/* Returns when the last byte has left: what comes next may end the machine. */
static inline void ns16550_flush(void)
{
	while (!(uart_read(UART_LSR) & LSR_SENT))
		;
}

static inline void ns16550_receive_interrupt(bool on)
{
	uart_write(UART_IER, on);
}

static inline void ns16550_init(void)
{
	/*
	 * The FIFO stays off: with QEMU 7.2, input that a client has already sent when it is switched on can be lost or
	 * get stuck. Without it QEMU hands over one byte at a time and keeps the sender waiting.
	 */
	uart_write(UART_LCR, 3); /* 8 bits */
	ns16550_receive_interrupt(true);
}

#endif
