/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * What the 64-bit Arm boards share: system registers, PSCI, waiting. arm64.c holds what they share of board.h.
 */
#ifndef ARM64_H
#define ARM64_H

#include "board.h"

#define PSCI_SYSTEM_OFF 0x84000008u /* Arm DEN 0022 */
#define PSCI_SYSTEM_RESET 0x84000009u

#define READ(name) ({ uint64_t value_; __asm__ volatile("mrs %0, " name : "=r"(value_)); value_; })
#define WRITE(name, value) __asm__ volatile("msr " name ", %0\n\tisb" : : "r"((uint64_t)(value)) : "memory")

/* Starts the clock of board_uptime_ms(). */
void arm64_start_clock(void);

static inline unsigned arm64_exception_level(void)
{
	return READ("CurrentEL") >> 2 & 3;
}

/* For cpu_idle(): see there. */
static inline void arm64_wait_for_interrupt(void)
{
	__asm__ volatile("wfi" : : : "memory");
	cpu_interrupts_on();
	cpu_interrupts_off();
}

/* Both call functions of PSCI that do not come back: what runs at EL2, and at EL3. */
static inline noreturn void arm64_psci_hvc(uint32_t function)
{
	register uint64_t x0 __asm__("x0") = function;

	__asm__ volatile("hvc #0" : "+r"(x0) : : "memory");
	for (;;)
		__asm__ volatile("wfi");
}

static inline noreturn void arm64_psci_smc(uint32_t function)
{
	register uint64_t x0 __asm__("x0") = function;

	__asm__ volatile("smc #0" : "+r"(x0) : : "memory");
	for (;;)
		__asm__ volatile("wfi");
}

#endif
