/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * qemu-system-arm -machine lm3s6965evb -cpu cortex-m3. Addresses, interrupts: QEMU, hw/arm/stellaris.c.
 */
#include "boards/pl011.h"

#define UART 0x4000c000u
#define UART_INTERRUPT 5u

/* ARMv7-M system control space. */
#define SYST_CSR 0xe000e010u
#define SYST_RVR 0xe000e014u
#define SYST_CVR 0xe000e018u
#define NVIC_ISER 0xe000e100u
#define SCB_ICSR 0xe000ed04u
#define SCB_AIRCR 0xe000ed0cu
#define SCB_CFSR 0xe000ed28u
#define SCB_HFSR 0xe000ed2cu

#define ICSR_PENDSTSET (1u << 26)
#define AIRCR_SYSRESETREQ (0x05fau << 16 | 1u << 2)

/* QEMU's clock with the reset value of RCC: 200 MHz / 16. One SysTick interrupt per second is all that idling costs. */
#define CLOCK_HZ 12500000u

const bool board_can_power_off = false; /* there is no such register; semihosting could, but opens host files */
const uint8_t board_code_max = 0;

static volatile uint32_t seconds;

/* What the CPU pushes before a handler runs. */
struct frame {
	uint32_t r0, r1, r2, r3, r12, lr, pc, xpsr;
};

void board_tick(void)
{
	seconds++;
}

noreturn void board_fault(const struct frame *frame)
{
	const struct fault_register registers[] = {
		{ "exception", read32(SCB_ICSR) & 0x1ff },
		{ "cfsr", read32(SCB_CFSR) },
		{ "hfsr", read32(SCB_HFSR) },
		{ "pc", frame->pc },
		{ "lr", frame->lr },
		{ "xpsr", frame->xpsr },
	};

	fault(registers, COUNT(registers));
}

void board_init(void)
{
	write32(SYST_RVR, CLOCK_HZ - 1);
	write32(SYST_CVR, 0);
	write32(SYST_CSR, 7); /* processor clock, interrupt, on */
	pl011_init(UART);
	write32(NVIC_ISER, 1u << UART_INTERRUPT);
	cpu_interrupts_on();
}

void board_put(char c) { pl011_put(UART, c); }
bool board_has_input(void) { return pl011_has_input(UART); }
char board_get(void) { return pl011_get(UART); }
void board_receive_interrupt(bool on) { pl011_receive_interrupt(UART, on); }

uint32_t board_uptime_ms(void)
{
	uint32_t whole, left;

	cpu_interrupts_off();
	whole = seconds;
	left = read32(SYST_CVR);
	if (read32(SCB_ICSR) & ICSR_PENDSTSET) { /* wrapped, not yet counted */
		whole++;
		left = read32(SYST_CVR);
	}
	cpu_interrupts_on();
	return whole * 1000 + (left ? CLOCK_HZ - left : 0) / (CLOCK_HZ / 1000);
}

noreturn void board_power_off(uint8_t code)
{
	(void)code;
	for (;;)
		cpu_idle();
}

noreturn void board_die(void)
{
	pl011_flush(UART);
	write32(SCB_AIRCR, AIRCR_SYSRESETREQ);
	for (;;)
		__asm__ volatile("wfi");
}

void board_crash(void) { __asm__ volatile("udf #0"); }

void cpu_interrupts_off(void) { __asm__ volatile("cpsid i" : : : "memory"); }
void cpu_interrupts_on(void) { __asm__ volatile("cpsie i\n\tisb" : : : "memory"); }

void cpu_idle(void)
{
	__asm__ volatile("wfi" : : : "memory");
	cpu_interrupts_on();
	cpu_interrupts_off();
}

bool board_read_config(const char *name, char *text, size_t size)
{
	(void)name, (void)text, (void)size;
	return false;
}
