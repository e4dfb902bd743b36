/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * qemu-system-i386 -machine q35. Ports and interrupts are those of every PC; the rest: QEMU, hw/i386/pc_q35.c.
 */
#include "boards/fw_cfg.h"
#include "boards/ns16550.h"

#define UART 0x3f8u
#define UART_INTERRUPT 4u

/* Two 8259s, the second one behind input 2 of the first. */
#define PIC_1 0x20u
#define PIC_2 0xa0u
#define PIC_EOI 0x20u
#define PIC_VECTOR 0x20u /* the first after the CPU's own */
#define PIC_SPURIOUS 7u

#define PIT_CONTROL 0x43u
#define PIT_ONCE 0x30u /* channel 0, mode 0 */

#define HPET 0xfed00000u
#define HPET_TICKS_PER_MS 100000u /* QEMU, hw/timer/hpet.c: 10 ns */

#define RESET 0xcf9u /* ICH9, RST_CNT */
#define RESET_SYSTEM 6u
#define FW_CFG_SELECT 0x510u
#define FW_CFG_DATA 0x511u
#define DEBUG_EXIT 0xf4u /* the board profile's isa-debug-exit */

#define CODE_SEGMENT 0x08u
#define INTERRUPT_GATE 0x8e00u /* present, ring 0, 32 bits, interrupts off */

#define READ(name) ({ uint32_t value_; __asm__ volatile("mov %%" name ", %0" : "=r"(value_)); value_; })

const bool board_can_power_off = true;
const uint8_t board_code_max = 127; /* QEMU's exit status is (code << 1) | 1, and has 8 bits */

static uint64_t boot_count;

/* What start.S and the CPU push before board_fault(). */
struct frame {
	uint32_t vector, error, eip, cs, eflags;
};

struct gate {
	uint16_t offset_low, segment, type, offset_high;
};

static struct gate idt[PIC_VECTOR + 16];

/* In start.S. */
extern char board_exceptions[PIC_VECTOR][16], board_uart_entry[], board_spurious_entry[];

static void out8(unsigned port, uint8_t value)
{
	__asm__ volatile("outb %0, %w1" : : "a"(value), "Nd"(port) : "memory");
}

static uint8_t in8(unsigned port)
{
	uint8_t value;

	__asm__ volatile("inb %w1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static void uart_write(unsigned reg, uint8_t value) { out8(UART + reg, value); }
static uint8_t uart_read(unsigned reg) { return in8(UART + reg); }

/* The counter's halves cannot be read at once. */
static uint64_t now(void)
{
	uint32_t high, low;

	do {
		high = read32(HPET + 0xf4);
		low = read32(HPET + 0xf0);
	} while (high != read32(HPET + 0xf4));
	return (uint64_t)high << 32 | low;
}

/* Called by start.S for every exception. */
noreturn void board_fault(const struct frame *frame)
{
	const struct fault_register registers[] = {
		{ "vector", frame->vector },
		{ "error", frame->error },
		{ "eip", frame->eip },
		{ "cr2", READ("cr2") },
		{ "eflags", frame->eflags },
	};

	fault(registers, COUNT(registers));
}

/* Called by start.S for the UART's interrupt. */
void board_interrupt(void)
{
	/* Before the work: a byte that comes meanwhile raises the interrupt again. */
	out8(PIC_1, PIC_EOI);
	console_receive();
}

static void set_gate(unsigned vector, const char *handler)
{
	uintptr_t offset = (uintptr_t)handler;

	idt[vector] = (struct gate){ (uint16_t)offset, CODE_SEGMENT, INTERRUPT_GATE, (uint16_t)(offset >> 16) };
}

static void idt_init(void)
{
	const struct __attribute__((packed)) {
		uint16_t limit;
		uint32_t base;
	} pointer = { sizeof(idt) - 1, (uintptr_t)idt };

	for (unsigned vector = 0; vector < PIC_VECTOR; vector++)
		set_gate(vector, board_exceptions[vector]);
	set_gate(PIC_VECTOR + UART_INTERRUPT, board_uart_entry);
	set_gate(PIC_VECTOR + PIC_SPURIOUS, board_spurious_entry);
	__asm__ volatile("lidt %0" : : "m"(pointer));
}

static void pic_init(unsigned pic, uint8_t vector, uint8_t cascade, uint8_t mask)
{
	out8(pic, 0x11); /* ICW1: start over, edges, ICW4 follows */
	out8(pic + 1, vector); /* ICW2 */
	out8(pic + 1, cascade); /* ICW3 */
	out8(pic + 1, 1); /* ICW4: 8086 mode */
	out8(pic + 1, mask); /* OCW1 */
}

void board_init(void)
{
	write32(HPET + 0x10, 1); /* general configuration: count */
	boot_count = now();
	idt_init();
	pic_init(PIC_1, PIC_VECTOR, 1u << 2, (uint8_t)~(1u << UART_INTERRUPT));
	pic_init(PIC_2, PIC_VECTOR + 8, 2, 0xff);
	out8(PIT_CONTROL, PIT_ONCE); /* ends the BIOS's tick, which costs the host something even while it is masked */
	ns16550_init();
	uart_write(UART_MCR, 0xb); /* DTR, RTS, and OUT2: the PC's gate of the interrupt */
	cpu_interrupts_on();
}

void board_put(char c) { ns16550_put(c); }
bool board_has_input(void) { return ns16550_has_input(); }
char board_get(void) { return ns16550_get(); }
void board_receive_interrupt(bool on) { ns16550_receive_interrupt(on); }

uint32_t board_uptime_ms(void)
{
	uint64_t ticks = now() - boot_count;
	/* Without whole rounds of 2^32 ms the quotient fits: one instruction instead of libgcc's division. */
	uint32_t high = (uint32_t)(ticks >> 32) % HPET_TICKS_PER_MS, quotient;

	__asm__("divl %3" : "=a"(quotient), "+d"(high) : "0"((uint32_t)ticks), "rm"(HPET_TICKS_PER_MS) : "cc");
	return quotient;
}

noreturn void board_power_off(uint8_t code)
{
	ns16550_flush();
	out8(DEBUG_EXIT, code);
	for (;;)
		__asm__ volatile("hlt");
}

/* Not DEBUG_EXIT: that could not be told from a power-off with a code. */
noreturn void board_die(void)
{
	ns16550_flush();
	out8(RESET, RESET_SYSTEM);
	for (;;)
		__asm__ volatile("hlt");
}

void board_crash(void) { __asm__ volatile("ud2"); }

static void fw_cfg_select(uint16_t key)
{
	__asm__ volatile("outw %w0, %w1" : : "a"(key), "Nd"(FW_CFG_SELECT) : "memory");
}

static uint8_t fw_cfg_next(void) { return in8(FW_CFG_DATA); }

bool board_read_config(const char *name, char *text, size_t size)
{
	static const struct fw_cfg device = { fw_cfg_select, fw_cfg_next };

	return fw_cfg_read(&device, name, text, size);
}

void cpu_interrupts_off(void) { __asm__ volatile("cli" : : : "memory"); }
void cpu_interrupts_on(void) { __asm__ volatile("sti" : : : "memory"); }

/* sti lets nothing in before the next instruction, so no interrupt can come between it and hlt. */
void cpu_idle(void) { __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory"); }
