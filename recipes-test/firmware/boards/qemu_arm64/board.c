/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * qemu-system-aarch64 -machine virt. Addresses and interrupt numbers: QEMU, hw/arm/virt.c (base_memmap, a15irqmap).
 */
#include "boards/fw_cfg.h"
#include "boards/gic.h"
#include "boards/pl011.h"

#define UART 0x09000000u
#define FW_CFG 0x09020000u

#define SECURE_GPIO 0x090b0000u /* a PL061, with secure=on only */
#define GPIO_POWER_OFF (1u << 0)
#define GPIO_RESET (1u << 1)

static const struct gic gic = {
	.distributor = 0x08000000,
	.cpu_interface = 0x08010000,
	.redistributor = 0x080a0000,
	.interrupt = 33, /* SPI 1: the UART */
};

const bool board_can_power_off = true;
const uint8_t board_code_max = 0; /* PSCI SYSTEM_OFF has no arguments */

/* Called by the IRQ vector. */
void board_interrupt(void)
{
	uint32_t token;

	if (!gic_begin(&gic, &token))
		return;
	console_receive();
	gic_end(&gic, token);
}

void board_init(void)
{
	arm64_start_clock();
	pl011_init(UART);
	gic_init(&gic);
	cpu_interrupts_on();
}

void board_put(char c) { pl011_put(UART, c); }
bool board_has_input(void) { return pl011_has_input(UART); }
char board_get(void) { return pl011_get(UART); }
void board_receive_interrupt(bool on) { pl011_receive_interrupt(UART, on); }

/* QEMU answers PSCI on HVC, on SMC where the guest owns EL2, and not at all where it owns EL3. */
static noreturn void end(uint32_t psci_function, uint32_t gpio_line)
{
	pl011_flush(UART);
	switch (arm64_exception_level()) {
	case 1:
		arm64_psci_hvc(psci_function);
	case 2:
		arm64_psci_smc(psci_function);
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

noreturn void board_die(void)
{
	end(PSCI_SYSTEM_RESET, GPIO_RESET);
}

/* QEMU, hw/nvram/fw_cfg.c (fw_cfg_init_mem): the selector is big-endian and 8 bytes behind the data. */
static void fw_cfg_select(uint16_t key)
{
	*(volatile uint16_t *)(uintptr_t)(FW_CFG + 8) = __builtin_bswap16(key);
}

static uint8_t fw_cfg_next(void) { return *(volatile uint8_t *)(uintptr_t)FW_CFG; }

bool board_read_config(const char *name, char *text, size_t size)
{
	static const struct fw_cfg device = { fw_cfg_select, fw_cfg_next };

	return fw_cfg_read(&device, name, text, size);
}

void cpu_idle(void) { arm64_wait_for_interrupt(); }
