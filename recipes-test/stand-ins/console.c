/* SPDX-License-Identifier: MulanPSL-2.0 */
/*
 * The far end of a console, to measure what lies before it.
 *
 * Started as an emulator, with the two sockets that the shim hands to QEMU (-chardev socket,id=control,fd=N and
 * -chardev socket,id=console,fd=N), it greets on the first as QMP does and acknowledges every command; its "guest"
 * runs from the first `cont` on, with the second as its console. Started without, as the program of a Linux container,
 * the same guest has stdin and stdout for its console; a terminal is made raw first.
 *
 * The guest says "ready" and a newline, then sends back what it reads. A line that begins with "flood N" makes it send N bytes instead, as fast as they
 * are taken, and then "done" and a newline.
 *
 * What QEMU has and this has not: a UART that moves a byte at a time, and a guest with interrupts. So what is measured
 * with it is the way between a console and the engine's stream, and not how fast an emulator is.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define CHUNK 32768
#define READY "ready\n"

static void write_all(int fd, const char *bytes, size_t length)
{
	while (length) {
		ssize_t count = write(fd, bytes, length);

		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			exit(1);
		bytes += count;
		length -= (size_t)count;
	}
}

static void flood(int out, unsigned long bytes)
{
	static char chunk[CHUNK];

	for (size_t i = 0; i < sizeof chunk; i++)
		chunk[i] = i % 64 == 63 ? '\n' : 'x';
	while (bytes) {
		size_t count = bytes < sizeof chunk ? bytes : sizeof chunk;

		write_all(out, chunk, count);
		bytes -= count;
	}
	write_all(out, "done\n", 5);
}

/* One turn of the guest: whatever has come. Ends with its console. */
static void guest(int in, int out)
{
	char bytes[4096];
	ssize_t length = read(in, bytes, sizeof bytes - 1);

	if (length <= 0)
		exit(0);
	bytes[length] = '\0';
	if (strncmp(bytes, "flood ", 6) == 0)
		flood(out, strtoul(bytes + 6, NULL, 10));
	else
		write_all(out, bytes, (size_t)length);
}

/* Answers the commands in one read, each a line with a number. True from the first `cont` on. */
static int control(int fd)
{
	static int running;
	char text[4096], answer[64];
	ssize_t length = read(fd, text, sizeof text - 1);

	if (length <= 0)
		exit(0);
	text[length] = '\0';
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		char *id = strstr(line, "\"id\":");
		int count = snprintf(answer, sizeof answer, "{\"return\": {}, \"id\": %lu}\r\n",
				     id ? strtoul(id + 5, NULL, 10) : 0);

		write_all(fd, answer, (size_t)count);
		running |= strstr(line, "\"cont\"") != NULL;
	}
	return running;
}

/* The number behind `-chardev socket,id=NAME,fd=`, or -1. */
static int descriptor(int argc, char **argv, const char *name)
{
	char wanted[64];
	int length = snprintf(wanted, sizeof wanted, "socket,id=%s,fd=", name);

	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], wanted, (size_t)length) == 0)
			return atoi(argv[i] + length);
	}
	return -1;
}

int main(int argc, char **argv)
{
	int qmp = descriptor(argc, argv, "control"), console = descriptor(argc, argv, "console"), running = 0;

	if (qmp < 0 || console < 0) {
		struct termios terminal;

		if (tcgetattr(STDIN_FILENO, &terminal) == 0) {
			cfmakeraw(&terminal);
			tcsetattr(STDIN_FILENO, TCSANOW, &terminal);
		}
		write_all(STDOUT_FILENO, READY, sizeof READY - 1);
		for (;;)
			guest(STDIN_FILENO, STDOUT_FILENO);
	}
	static const char greeting[] = "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n";

	write_all(qmp, greeting, sizeof greeting - 1);
	for (;;) {
		struct pollfd ready[2] = { { .fd = qmp, .events = POLLIN },
					   { .fd = running ? console : -1, .events = POLLIN } };

		if (poll(ready, 2, -1) < 0)
			return 1;
		if (ready[0].revents) {
			int was_running = running;

			running = control(qmp);
			if (running && !was_running)
				write_all(console, READY, sizeof READY - 1);
		}
		if (ready[1].revents)
			guest(console, console);
	}
}
