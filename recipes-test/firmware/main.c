/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * MicRun's test firmware: a banner, a prompt, and commands that do on purpose what guests do by accident.
 *
 * One program for all boards. It sleeps until a byte arrives, so an idle guest costs its host nothing.
 */
#include "net.h"

#define NAME "MicRun test firmware"
#define PROMPT "micrun> "
#define LINE_SIZE 1025u /* 1024 characters and the NUL */
#define RING_SIZE 1024u /* a power of two */
#define FLOOD_MAX 999999u /* six digits, so that all lines are equally long */
#define TRACEPARENT "opt/org.openeuler.micrun/traceparent"
#define DATA_MARK 0x4d694352u

/* Filled by the receive interrupt, emptied by the main loop. */
static struct {
	volatile uint32_t written;
	volatile uint32_t read;
	volatile bool paused;
	char bytes[RING_SIZE];
} ring;

/* Proves that .data was loaded, or copied from flash. */
static volatile uint32_t data_mark = DATA_MARK;

/* ---- output ---- */

static void put(const char *text)
{
	while (*text)
		board_put(*text++);
}

static void put_line(const char *text)
{
	put(text);
	put("\r\n");
}

/* Decimal, padded with zeros to `width` digits. */
static void put_number(uint32_t value, unsigned width)
{
	char digits[10];
	unsigned count = 0;

	do {
		digits[count++] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	while (width-- > count)
		board_put('0');
	while (count)
		board_put(digits[--count]);
}

static void put_hex(uintptr_t value)
{
	put("0x");
	for (int shift = (int)sizeof(value) * 8 - 4; shift >= 0; shift -= 4)
		board_put("0123456789abcdef"[value >> shift & 0xf]);
}

/* Two hexadecimal digits. */
static void put_byte(uint8_t value)
{
	board_put("0123456789abcdef"[value >> 4]);
	board_put("0123456789abcdef"[value & 0xf]);
}

/* ---- input ---- */

void console_receive(void)
{
	while (board_has_input()) {
		if (ring.written - ring.read == RING_SIZE) {
			ring.paused = true;
			board_receive_interrupt(false);
			return;
		}
		ring.bytes[ring.written % RING_SIZE] = board_get();
		ring.written++;
	}
}

static char get(void)
{
	char c;

	cpu_interrupts_off();
	while (ring.written == ring.read)
		cpu_idle();
	c = ring.bytes[ring.read % RING_SIZE];
	ring.read++;
	if (ring.paused) {
		ring.paused = false;
		board_receive_interrupt(true);
	}
	cpu_interrupts_on();
	return c;
}

/* Reads a line with echo. CR, LF and CR LF each end one line; what does not fit rings the bell. */
static void get_line(char line[static LINE_SIZE])
{
	static bool after_cr;
	size_t length = 0;

	for (;;) {
		char c = get();
		bool rest_of_crlf = c == '\n' && after_cr;

		after_cr = c == '\r';
		if (rest_of_crlf)
			continue;
		if (c == '\r' || c == '\n')
			break;
		if (c == '\b' || c == 0x7f) {
			if (length) {
				length--;
				put("\b \b");
			}
		} else if ((unsigned char)c >= ' ') {
			if (length == LINE_SIZE - 1) {
				board_put('\a');
				continue;
			}
			line[length++] = c;
			board_put(c);
		}
	}
	line[length] = '\0';
	put("\r\n");
}

/* ---- commands ---- */

struct command {
	const char *name;
	const char *arguments;
	const char *help;
	void (*run)(const char *arguments);
};

/* Reads a whole decimal number, or says in one line what is wrong with it. */
static bool parse(const char *text, uint32_t max, uint32_t *value)
{
	uint32_t number = 0;
	const char *digit = text;

	for (; *digit >= '0' && *digit <= '9'; digit++) {
		uint32_t units = (uint32_t)(*digit - '0');

		if (number > (max - units) / 10)
			break;
		number = number * 10 + units;
	}
	if (digit == text || *digit) {
		put("expected a number from 0 to ");
		put_number(max, 0);
		put(", got: ");
		put_line(*text ? text : "nothing");
		return false;
	}
	*value = number;
	return true;
}

static void version(const char *arguments)
{
	(void)arguments;
	put_line(NAME " " VERSION " on " BOARD);
}

static void uptime(const char *arguments)
{
	(void)arguments;
	put_number(board_uptime_ms(), 0);
	put_line(" ms");
}

static void put_section(const char *name, const char *start, const char *end)
{
	put(name);
	put_hex((uintptr_t)start);
	put(" ");
	put_number((uint32_t)((uintptr_t)end - (uintptr_t)start), 0);
	put_line(" bytes");
}

static void mem(const char *arguments)
{
	(void)arguments;
	put_section("text  ", __text_start, __text_end);
	put_section("data  ", __data_start, __data_end);
	put_section("bss   ", __bss_start, __bss_end);
	put_section("stack ", __stack_start, __stack_end);
	put_section("ram   ", __ram_start, __ram_end);
}

static void trace(const char *arguments)
{
	char text[64];

	(void)arguments;
	put_line(board_read_config(TRACEPARENT, text, sizeof(text)) ? text : "no trace");
}

static void burn(const char *arguments)
{
	uint32_t duration, start = board_uptime_ms();

	if (!parse(arguments, UINT32_MAX, &duration))
		return;
	while (board_uptime_ms() - start < duration)
		;
}

static void crash(const char *arguments)
{
	(void)arguments;
	board_crash();
}

static void flood(const char *arguments)
{
	uint32_t lines;

	if (!parse(arguments, FLOOD_MAX, &lines))
		return;
	for (uint32_t line = 1; line <= lines; line++) {
		put("flood ");
		put_number(line, 6);
		put_line(" abcdefghijklmnopqrstuvwxyz0123456789");
	}
}

/* Reads an IPv4 address, or says in one line that it is none. */
static bool parse_address(const char *text, struct address *address)
{
	const char *rest = text;

	for (size_t i = 0; i < COUNT(address->bytes); i++) {
		uint32_t byte = 0;
		const char *digit = rest;

		for (; *digit >= '0' && *digit <= '9' && byte <= UINT8_MAX; digit++)
			byte = byte * 10 + (uint32_t)(*digit - '0');
		if (digit == rest || byte > UINT8_MAX || *digit != (i + 1 < COUNT(address->bytes) ? '.' : '\0')) {
			put("expected an address such as 10.0.0.2, got: ");
			put_line(*text ? text : "nothing");
			return false;
		}
		address->bytes[i] = (uint8_t)byte;
		rest = digit + 1;
	}
	return true;
}

static void net(const char *arguments)
{
	struct address address;
	const char *why_not;

	if (!parse_address(arguments, &address))
		return;
	why_not = net_take(&address);
	if (why_not) {
		put_line(why_not);
		return;
	}
	put(arguments);
	put(" is at ");
	for (size_t i = 0; i < 6; i++) {
		put(i ? ":" : "");
		put_byte(net_mac()[i]);
	}
	put_line("");
}

static void ping(const char *arguments)
{
	struct address address;
	uint32_t milliseconds;
	const char *why_not;

	if (!parse_address(arguments, &address))
		return;
	why_not = net_ping(&address, &milliseconds);
	put(arguments);
	if (why_not) {
		put(": ");
		put_line(why_not);
		return;
	}
	put(" answers after ");
	put_number(milliseconds, 0);
	put_line(" ms");
}

static void poweroff(const char *arguments)
{
	uint32_t code = 0;

	if (*arguments && !parse(arguments, board_code_max ? board_code_max : UINT8_MAX, &code))
		return;
	if (!board_can_power_off) {
		put_line("this board cannot power off: stop it from outside");
		return;
	}
	if (code && !board_code_max)
		put_line("this board's power-off carries no code: powering off without it");
	board_power_off((uint8_t)code);
}

static void help(const char *arguments);
static void echo(const char *arguments) { put_line(arguments); }

static const struct command commands[] = {
	{ "help", "", "this list", help },
	{ "echo", " TEXT", "print TEXT as it was typed", echo },
	{ "version", "", "name, version and board", version },
	{ "uptime", "", "milliseconds since boot", uptime },
	{ "mem", "", "sections and RAM of this image", mem },
	{ "trace", "", "the trace that this guest was started in", trace },
	{ "burn", " MS", "keep the CPU busy for MS milliseconds", burn },
	{ "crash", "", "execute an undefined instruction", crash },
	{ "flood", " N", "print N numbered lines as fast as possible", flood },
	{ "net", " ADDRESS", "take this IPv4 address; ARP and ping are answered from then on", net },
	{ "ping", " ADDRESS", "ask for a second whether somebody answers at this IPv4 address", ping },
	{ "poweroff", " [CODE]", "end this guest, with an exit code where the board has one", poweroff },
};

static void help(const char *arguments)
{
	(void)arguments;
	for (size_t i = 0; i < COUNT(commands); i++) {
		put(commands[i].name);
		put(commands[i].arguments);
		put(": ");
		put_line(commands[i].help);
	}
}

static bool equal(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

/* Splits the line at its first blank and runs the command that its first word names. */
static void execute(char *line)
{
	char *arguments;

	while (*line == ' ')
		line++;
	for (arguments = line; *arguments && *arguments != ' '; arguments++)
		;
	if (*arguments)
		*arguments++ = '\0';
	if (!*line)
		return;
	for (size_t i = 0; i < COUNT(commands); i++) {
		if (equal(line, commands[i].name)) {
			commands[i].run(arguments);
			return;
		}
	}
	put("unknown command: ");
	put(line);
	put_line(" (try help)");
}

/* ---- life and death ---- */

noreturn void fault(const struct fault_register *registers, size_t count)
{
	static bool faulted;

	if (faulted) /* the report itself faulted */
		board_die();
	faulted = true;
	put("\r\nFAULT:");
	for (size_t i = 0; i < count; i++) {
		put(" ");
		put(registers[i].name);
		put("=");
		put_hex(registers[i].value);
	}
	put("\r\n");
	board_die();
}

noreturn void asked_to_power_off(const char *by)
{
	put("\r\npowering off: ");
	put(by);
	put_line(" asks for it");
	board_power_off(0);
}

noreturn void main(void)
{
	static char line[LINE_SIZE];

	board_init();
	put_line(NAME " " VERSION " on " BOARD);
	if (data_mark != DATA_MARK)
		put_line("WARNING: .data was not loaded");
	for (;;) {
		put(PROMPT);
		get_line(line);
		execute(line);
	}
}
