/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * A domain of Xen with `vuart = "sbsa_uart"`, whose firmware knows nothing of Xen: no hypercalls.
 * Addresses and interrupt numbers: Xen, xen/include/public/arch-arm.h (GUEST_PL011_BASE, GUEST_VPL011_SPI, GUEST_GIC*).
 */
#include "boards/gic.h"
#include "boards/pl011.h"

#define UART 0x22000000u

static const struct gic gic = {
	.distributor = 0x03001000,
	.cpu_interface = 0x03002000,
	.redistributor = 0x03020000,
	.interrupt = 32, /* SPI 0: the UART */
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

/* An SBSA UART is always on and has no line settings; older Xen aborts the guest that writes them. */
void board_init(void)
{
	arm64_start_clock();
	gic_init(&gic);
	pl011_receive_interrupt(UART, true);
	cpu_interrupts_on();
}

void board_put(char c) { pl011_put(UART, c); }
bool board_has_input(void) { return pl011_has_input(UART); }
char board_get(void) { return pl011_get(UART); }
void board_receive_interrupt(bool on) { pl011_receive_interrupt(UART, on); }

noreturn void board_power_off(uint8_t code)
{
	(void)code;
	pl011_flush(UART);
	arm64_psci_hvc(PSCI_SYSTEM_OFF);
}

/* Xen sees a domain that reboots. */
noreturn void board_die(void)
{
	pl011_flush(UART);
	arm64_psci_hvc(PSCI_SYSTEM_RESET);
}

void cpu_idle(void) { arm64_wait_for_interrupt(); }

bool board_read_config(const char *name, char *text, size_t size)
{
	(void)name, (void)text, (void)size;
	return false;
}
