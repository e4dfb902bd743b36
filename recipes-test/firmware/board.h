/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * What a board gives to main.c and net.c, and what those give to a board.
 *
 * main.c holds everything that users see; a board holds registers. Nothing here knows which board it is.
 */
#ifndef BOARD_H
#define BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>

/* ---- implemented by boards/<board>/board.c ---- */

/* Sets up UART, clock and the receive interrupt. Interrupts are on when it returns. */
void board_init(void);

/* Sends one byte; waits for room in the transmitter. */
void board_put(char c);

/* True if board_get() has a byte to give. */
bool board_has_input(void);
char board_get(void);

/* While off, bytes stay in the UART, and the sender waits once that is full. */
void board_receive_interrupt(bool on);

/* Milliseconds since board_init(); wraps after 49 days. */
uint32_t board_uptime_ms(void);

/* What this board's power-off can do. */
extern const bool board_can_power_off;
extern const uint8_t board_code_max; /* the highest exit code that it carries; 0 if it carries none */

/* Called only where board_can_power_off. The code is ignored where the board cannot carry one. */
noreturn void board_power_off(uint8_t code);

/* The end of a crash: resets the machine as a watchdog would, or has a hypervisor record it. */
noreturn void board_die(void);

/* Executes an undefined instruction; comes back as the CPU's own exception. */
void board_crash(void);

/* What the host left for the guest under this name, as text; false where there is nothing, or no way to leave it. */
bool board_read_config(const char *name, char *text, size_t size);

/* Connects the board's Ethernet interface, once, and tells its MAC. Returns NULL, or why not, as one line. */
const char *board_net_start(uint8_t mac[6]);

/* Sends a frame, with interrupts off. One for which there is no room at the moment is lost. */
void board_net_send(const void *frame, size_t length);

/* For who waits for a frame until a deadline: leaves the processor to others for a moment. */
void board_net_pause(void);

void cpu_interrupts_off(void);
void cpu_interrupts_on(void);

/*
 * Called with interrupts off: sleeps until one is pending, lets it in, returns with interrupts off again.
 * An interrupt that came before the call ends the sleep at once, so none can be missed.
 */
void cpu_idle(void);

/* ---- implemented by main.c ---- */

noreturn void main(void);

/* The receive interrupt's work: moves bytes from the UART to the ring buffer. */
void console_receive(void);

/* One register of a fault report. */
struct fault_register {
	const char *name;
	uintptr_t value;
};

/* Prints one FAULT line and calls board_die(). */
noreturn void fault(const struct fault_register *registers, size_t count);

/* Prints who asks, and powers off. For boards that can be asked from outside. */
noreturn void asked_to_power_off(const char *by);

/* ---- implemented by net.c ---- */

/* A frame from outside, with interrupts off: `length` bytes that may be anything. */
void net_receive(const uint8_t *frame, size_t length);

/* ---- defined by the linker script ---- */

extern char __text_start[], __text_end[];
extern char __data_start[], __data_end[];
extern char __bss_start[], __bss_end[];
extern char __stack_start[], __stack_end[];
extern char __ram_start[], __ram_end[];

/* ---- for boards ---- */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static inline void write32(uintptr_t address, uint32_t value)
{
	*(volatile uint32_t *)address = value;
}

static inline uint32_t read32(uintptr_t address)
{
	return *(volatile uint32_t *)address;
}

#endif
