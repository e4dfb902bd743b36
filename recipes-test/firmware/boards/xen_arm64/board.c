/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * A domain of Xen: the console is a ring shared with Dom0's xenconsoled (Xen, public/io/console.h), the event channels'
 * interrupt the only one. Addresses and numbers: Xen, public/arch-arm.h (GUEST_GIC*, GUEST_EVTCHN_PPI).
 */
#include "boards/gic.h"
#include "xen.h"

static const struct gic gic = {
	.distributor = 0x03001000,
	.cpu_interface = 0x03002000,
	.redistributor = 0x03020000,
	.interrupt = 31, /* event channels */
};

/* The first index of each pair is the reader's. They count bytes and wrap on their own. */
struct console {
	char in[1024], out[2048];
	volatile uint32_t in_read, in_written, out_read, out_written;
};

const bool board_can_power_off = true;
const uint8_t board_code_max = 0; /* PSCI SYSTEM_OFF has no arguments */

static struct console *console;
static uint32_t console_port;
static bool receiving = true;

/* ---- output ---- */

static bool is_full(void)
{
	return console->out_written - console->out_read == sizeof(console->out);
}

/* Sleeps until xenconsoled made room. Wakes for xenstore too, so that it can ask for a shutdown meanwhile. */
static void wait_for_room(void)
{
	const uint32_t ports[] = { console_port, xenstore_port() };

	event_send(console_port);
	while (is_full()) {
		uint64_t interrupts = READ("daif");

		cpu_interrupts_off();
		if (is_full())
			event_wait(ports, COUNT(ports));
		WRITE("daif", interrupts);
	}
}

/* xenconsoled is woken once per line, and before we sleep. */
void board_put(char c)
{
	if (is_full())
		wait_for_room();
	console->out[console->out_written % sizeof(console->out)] = c;
	barrier();
	console->out_written++;
	if (c == '\n')
		event_send(console_port);
}

/* Waits until xenconsoled has taken everything, for a second at most: a domain must be able to end without it. */
static void flush(void)
{
	uint32_t start = board_uptime_ms();

	event_send(console_port);
	while (console->out_read != console->out_written && board_uptime_ms() - start < 1000)
		hypercall(HYPERCALL_sched_op, SCHEDOP_yield, NULL);
}

/* ---- input ---- */

bool board_has_input(void)
{
	return console->in_read != console->in_written;
}

char board_get(void)
{
	char c;

	barrier();
	c = console->in[console->in_read % sizeof(console->in)];
	barrier();
	console->in_read++;
	return c;
}

/* Takes what is there, and tells xenconsoled, which may be waiting for room. */
static void receive(void)
{
	if (!receiving || !board_has_input())
		return;
	console_receive();
	event_send(console_port);
}

/* Nothing interrupts again for bytes that lie there already. */
void board_receive_interrupt(bool on)
{
	receiving = on;
	receive();
}

/* Called by the IRQ vector. */
void board_interrupt(void)
{
	uint32_t token;

	if (!gic_begin(&gic, &token))
		return;
	event_clear();
	xenstore_receive();
	netfront_receive();
	receive();
	gic_end(&gic, token);
}

/* ---- life and death ---- */

void board_init(void)
{
	arm64_start_clock();
	mmu_init();
	console = (struct console *)(hvm_param(HVM_PARAM_CONSOLE_PFN) * PAGE_SIZE);
	console_port = (uint32_t)hvm_param(HVM_PARAM_CONSOLE_EVTCHN);
	event_init();
	grant_init();
	xenstore_init();
	gic_init(&gic);
	cpu_interrupts_on();
}

noreturn void board_power_off(uint8_t code)
{
	(void)code;
	flush();
	arm64_psci_hvc(PSCI_SYSTEM_OFF);
}

/* Xen sees a domain that crashed, and on_crash decides. */
noreturn void board_die(void)
{
	if (console)
		flush();
	xen_crash();
}

void cpu_idle(void)
{
	event_send(console_port);
	arm64_wait_for_interrupt();
}

bool board_read_config(const char *name, char *text, size_t size)
{
	(void)name, (void)text, (void)size;
	return false;
}
