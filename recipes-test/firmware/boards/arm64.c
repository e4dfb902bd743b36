/* SPDX-License-Identifier: MulanPSL-2.0 */
#include "boards/arm64.h"

/* A register that every exception level has under a name of its own. */
#define READ_BANKED(name, el) ((el) == 1 ? READ(name "_el1") : (el) == 2 ? READ(name "_el2") : READ(name "_el3"))

static uint64_t boot_count;

void arm64_start_clock(void)
{
	boot_count = READ("cntvct_el0");
}

uint32_t board_uptime_ms(void)
{
	return (uint32_t)((READ("cntvct_el0") - boot_count) * 1000 / READ("cntfrq_el0"));
}

/* Called by all vectors but that of the interrupt. */
noreturn void board_fault(void)
{
	unsigned el = arm64_exception_level();
	const struct fault_register registers[] = {
		{ "esr", READ_BANKED("esr", el) },
		{ "elr", READ_BANKED("elr", el) },
		{ "far", READ_BANKED("far", el) },
		{ "spsr", READ_BANKED("spsr", el) },
		{ "el", el },
	};

	fault(registers, COUNT(registers));
}

void board_crash(void) { __asm__ volatile(".inst 0"); /* udf #0 */ }

void cpu_interrupts_off(void) { __asm__ volatile("msr daifset, #2" : : : "memory"); }
void cpu_interrupts_on(void) { __asm__ volatile("msr daifclr, #2\n\tisb" : : : "memory"); }
