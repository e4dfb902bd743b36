// SPDX-License-Identifier: MulanPSL-2.0
// Stands for a kernel, or a hypervisor, that U-Boot starts on QEMU's Raspberry Pi 3: says its name, then every longer text of the
// device tree that it was given, and resets the board as a system does that was never marked good.

#define UART_DATA ((volatile unsigned *)0x3f215040)
#define UART_STATUS ((volatile unsigned *)0x3f215054)
#define RESET_CONTROL ((volatile unsigned *)0x3f10001c)
#define WATCHDOG ((volatile unsigned *)0x3f100024)
#define PASSWORD 0x5a000000u
#define FULL_RESET 0x20u

// The header of an arm64 kernel (Documentation/arch/arm64/booting.rst): its size, and that any place will do.
__asm__(".section .text.head, \"ax\"\n"
        "    b entry\n"
        "    .word 0\n"
        "    .quad 0, 0x10000, 0xa, 0, 0, 0\n"
        "    .ascii \"ARM\\x64\"\n"
        "    .word 0\n"
        "entry:\n"
        "    bl start\n");

static void put(char c)
{
    while (!(*UART_STATUS & 0x20)) {
    }
    *UART_DATA = c;
}

static void say(const char *text)
{
    while (*text) {
        put(*text++);
    }
}

static int printable(unsigned char c)
{
    return c >= ' ' && c < 0x7f;
}

// Texts of eight characters and more.
static void show(const unsigned char *tree)
{
    unsigned size = tree[4] << 24 | tree[5] << 16 | tree[6] << 8 | tree[7];

    for (unsigned i = 0; i < size; i++) {
        unsigned end = i;

        while (end < size && printable(tree[end])) {
            end++;
        }
        if (end - i >= 8) {
            while (i < end) {
                put(tree[i++]);
            }
            say("\r\n");
        }
        i = end;
    }
}

void start(const unsigned char *tree)
{
    say("\r\nSTARTED " NAME "\r\n");
    show(tree);
    say("ENDED " NAME "\r\n");
    *WATCHDOG = PASSWORD | 10;
    *RESET_CONTROL = PASSWORD | FULL_RESET;
    for (;;) {
    }
}
