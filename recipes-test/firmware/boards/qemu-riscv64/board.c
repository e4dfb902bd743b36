/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * qemu-system-riscv64 -machine virt -bios none. Addresses and interrupts: QEMU, hw/riscv/virt.c (virt_memmap).
 */
#include "boards/ns16550.h"

#define FINISHER 0x00100000u
#define MTIME 0x0200bff8u
#define PLIC 0x0c000000u
#define UART 0x10000000u
#define UART_INTERRUPT 10u

#define MTIME_HZ 10000000u

/* Test finisher: QEMU, hw/misc/sifive_test.c. PASS exits with 0; FAIL with the code in the upper half. */
#define FINISHER_FAIL 0x3333u
#define FINISHER_PASS 0x5555u
#define FINISHER_RESET 0x7777u

#define MSTATUS_MIE 8u
#define MIE_EXTERNAL (1u << 11)
#define MCAUSE_EXTERNAL (UINT64_C(1) << 63 | 11)

#define READ(name) ({ uint64_t value_; __asm__ volatile("csrr %0, " name : "=r"(value_)); value_; })

const bool board_can_power_off = true;
const uint8_t board_code_max = 255;

static uint64_t boot_time;

/* One byte apart. */
static void uart_write(unsigned reg, uint8_t value)
{
	*(volatile uint8_t *)(uintptr_t)(UART + reg) = value;
}

static uint8_t uart_read(unsigned reg)
{
	return *(volatile uint8_t *)(uintptr_t)(UART + reg);
}

static uint64_t now(void)
{
	return *(volatile uint64_t *)(uintptr_t)MTIME;
}

/* Every exception and interrupt comes here (mtvec in direct mode). */
void __attribute__((interrupt("machine"), aligned(4))) board_trap(void)
{
	const struct fault_register registers[] = {
		{ "mcause", READ("mcause") },
		{ "mepc", READ("mepc") },
		{ "mtval", READ("mtval") },
		{ "mstatus", READ("mstatus") },
	};

	if (registers[0].value != MCAUSE_EXTERNAL)
		fault(registers, COUNT(registers));

	uint32_t claimed = read32(PLIC + 0x200004); /* context 0: hart 0, machine mode */

	if (claimed == 0)
		return;
	console_receive();
	write32(PLIC + 0x200004, claimed);
}

void board_init(void)
{
	boot_time = now();
	ns16550_init();
	write32(PLIC + 4 * UART_INTERRUPT, 1); /* priority */
	write32(PLIC + 0x2000, 1u << UART_INTERRUPT); /* enable */
	write32(PLIC + 0x200000, 0); /* threshold: let all in */
	__asm__ volatile("csrs mie, %0" : : "r"(MIE_EXTERNAL));
	cpu_interrupts_on();
}

void board_put(char c) { ns16550_put(c); }
bool board_has_input(void) { return ns16550_has_input(); }
char board_get(void) { return ns16550_get(); }
void board_receive_interrupt(bool on) { ns16550_receive_interrupt(on); }

uint32_t board_uptime_ms(void)
{
	return (uint32_t)((now() - boot_time) / (MTIME_HZ / 1000));
}

static noreturn void finish(uint32_t value)
{
	ns16550_flush();
	write32(FINISHER, value);
	for (;;)
		__asm__ volatile("wfi");
}

noreturn void board_power_off(uint8_t code)
{
	finish(code ? (uint32_t)code << 16 | FINISHER_FAIL : FINISHER_PASS);
}

/* Not FAIL: that could not be told from a power-off with a code. */
noreturn void board_die(void)
{
	finish(FINISHER_RESET);
}

void board_crash(void) { __asm__ volatile("unimp"); }

void cpu_interrupts_off(void) { __asm__ volatile("csrc mstatus, %0" : : "r"(MSTATUS_MIE) : "memory"); }
void cpu_interrupts_on(void) { __asm__ volatile("csrs mstatus, %0" : : "r"(MSTATUS_MIE) : "memory"); }

void cpu_idle(void)
{
	__asm__ volatile("wfi" : : : "memory");
	cpu_interrupts_on();
	cpu_interrupts_off();
}

/* QEMU makes this machine's fw_cfg too late for `-fw_cfg` (7.2). */
bool board_read_config(const char *name, char *text, size_t size)
{
	(void)name, (void)text, (void)size;
	return false;
}
