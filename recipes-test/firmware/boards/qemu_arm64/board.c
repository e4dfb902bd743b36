/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * qemu-system-aarch64 -machine virt. Addresses and interrupt numbers: QEMU, hw/arm/virt.c (base_memmap, a15irqmap).
 */
#include "boards/pl011.h"

#define UART 0x09000000u
#define GICD 0x08000000u /* distributor, GICv2 and v3 */
#define GICC 0x08010000u /* CPU interface, GICv2 */
#define GICR 0x080a0000u /* redistributor of CPU 0, GICv3 */
#define UART_INTERRUPT 33u /* SPI 1 */
#define SPURIOUS 1020u /* and above: nothing to handle */

#define PSCI_SYSTEM_OFF 0x84000008u /* Arm DEN 0022 */
#define PSCI_SYSTEM_RESET 0x84000009u

#define SECURE_GPIO 0x090b0000u /* a PL061, with secure=on only */
#define GPIO_POWER_OFF (1u << 0)
#define GPIO_RESET (1u << 1)

#define READ(name) ({ uint64_t value_; __asm__ volatile("mrs %0, " name : "=r"(value_)); value_; })
#define WRITE(name, value) __asm__ volatile("msr " name ", %0\n\tisb" : : "r"((uint64_t)(value)) : "memory")
/* A register that every exception level has under a name of its own. */
#define READ_BANKED(name, el) ((el) == 1 ? READ(name "_el1") : (el) == 2 ? READ(name "_el2") : READ(name "_el3"))

const bool board_can_power_off = true;
const uint8_t board_code_max = 0; /* PSCI SYSTEM_OFF has no arguments */

static uint64_t boot_count;

static unsigned exception_level(void)
{
	return READ("CurrentEL") >> 2 & 3;
}

/* ID_AA64PFR0_EL1.GIC: the CPU interface is in system registers. */
static bool has_gic_v3(void)
{
	return READ("id_aa64pfr0_el1") >> 24 & 0xf;
}

static void gic_v2_init(void)
{
	write32(GICD + 0x800 + UART_INTERRUPT / 4 * 4, 1u << UART_INTERRUPT % 4 * 8); /* ITARGETSR: CPU 0 */
	write32(GICD + 0x100 + UART_INTERRUPT / 32 * 4, 1u << UART_INTERRUPT % 32); /* ISENABLER */
	write32(GICD, 1); /* CTLR: on */
	write32(GICC + 4, 0xff); /* PMR: all priorities */
	write32(GICC, 1); /* CTLR: on */
}

static void gic_v3_init(void)
{
	write32(GICR + 0x14, 0); /* WAKER */
	while (read32(GICR + 0x14) & 1 << 2)
		;
	write32(GICD, 1 << 4 | 1 << 1); /* CTLR: affinity routing, group 1; IROUTER is 0 = CPU 0 */
	write32(GICD + 0x80 + UART_INTERRUPT / 32 * 4, 1u << UART_INTERRUPT % 32); /* IGROUPR: group 1 */
	write32(GICD + 0x100 + UART_INTERRUPT / 32 * 4, 1u << UART_INTERRUPT % 32); /* ISENABLER */
	WRITE("S3_0_C4_C6_0", 0xff); /* ICC_PMR_EL1: all priorities */
	WRITE("S3_0_C12_C12_7", 1); /* ICC_IGRPEN1_EL1: on */
}

/* Called by the IRQ vector. */
void board_interrupt(void)
{
	bool v3 = has_gic_v3();
	uint32_t acknowledged = v3 ? (uint32_t)READ("S3_0_C12_C12_0") : read32(GICC + 0xc); /* ICC_IAR1_EL1, GICC_IAR */

	if ((acknowledged & 0x3ff) >= SPURIOUS)
		return;
	console_receive();
	if (v3)
		WRITE("S3_0_C12_C12_1", acknowledged); /* ICC_EOIR1_EL1 */
	else
		write32(GICC + 0x10, acknowledged); /* GICC_EOIR */
}

/* Called by all other vectors. */
noreturn void board_fault(void)
{
	unsigned el = exception_level();
	const struct fault_register registers[] = {
		{ "esr", READ_BANKED("esr", el) },
		{ "elr", READ_BANKED("elr", el) },
		{ "far", READ_BANKED("far", el) },
		{ "spsr", READ_BANKED("spsr", el) },
		{ "el", el },
	};

	fault(registers, COUNT(registers));
}

void board_init(void)
{
	boot_count = READ("cntvct_el0");
	pl011_init(UART);
	if (has_gic_v3())
		gic_v3_init();
	else
		gic_v2_init();
	cpu_interrupts_on();
}

void board_put(char c) { pl011_put(UART, c); }
bool board_has_input(void) { return pl011_has_input(UART); }
char board_get(void) { return pl011_get(UART); }
void board_receive_interrupt(bool on) { pl011_receive_interrupt(UART, on); }

uint32_t board_uptime_ms(void)
{
	return (uint32_t)((READ("cntvct_el0") - boot_count) * 1000 / READ("cntfrq_el0"));
}

/* QEMU answers PSCI on HVC, on SMC where the guest owns EL2, and not at all where it owns EL3. */
static noreturn void end(uint32_t psci_function, uint32_t gpio_line)
{
	unsigned el = exception_level();

	pl011_flush(UART);

	register uint64_t x0 __asm__("x0") = psci_function;

	switch (el) {
	case 1:
		__asm__ volatile("hvc #0" : "+r"(x0) : : "memory");
		break;
	case 2:
		__asm__ volatile("smc #0" : "+r"(x0) : : "memory");
		break;
	default:
		write32(SECURE_GPIO + 0x400, gpio_line); /* GPIODIR: an output */
		write32(SECURE_GPIO + (gpio_line << 2), gpio_line); /* GPIODATA: high */
	}
	for (;;)
		__asm__ volatile("wfi");
}

noreturn void board_power_off(uint8_t code)
{
	(void)code;
	end(PSCI_SYSTEM_OFF, GPIO_POWER_OFF);
}

noreturn void board_reset(void)
{
	end(PSCI_SYSTEM_RESET, GPIO_RESET);
}

void board_crash(void) { __asm__ volatile(".inst 0"); /* udf #0 */ }

void cpu_interrupts_off(void) { __asm__ volatile("msr daifset, #2" : : : "memory"); }
void cpu_interrupts_on(void) { __asm__ volatile("msr daifclr, #2\n\tisb" : : : "memory"); }

void cpu_idle(void)
{
	__asm__ volatile("wfi" : : : "memory");
	cpu_interrupts_on();
	cpu_interrupts_off();
}
