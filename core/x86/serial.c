/* SPDX-License-Identifier: MIT */
#include "core/x86/serial.h"

#include <arch/cpu.h>

#include "core/arch.h"

/* Register offsets of a 16550. */
#define UART_DATA 0 /* RBR and THR; divisor low with DLAB */
#define UART_IER 1  /* divisor high with DLAB */
#define UART_FCR 2
#define UART_LCR 3
#define UART_MCR 4
#define UART_LSR 5
#define UART_SCR 7

#define LSR_DATA_READY 0x01
#define LSR_THRE 0x20
#define LCR_8N1 0x03
#define LCR_DLAB 0x80
#define FCR_ENABLE_CLEAR 0x07
#define MCR_DTR_RTS_OUT2 0x0b
#define FIFO_BYTES 16

/* Far longer than 16 bytes take at 115200 baud: a port that stays busy is broken. */
#define THRE_POLLS 10000000u

static const uint16_t port_base[SERIAL_PORTS] = {0x3f8, 0x2f8, 0x3e8};
static bool present[SERIAL_PORTS];

static bool probe(uint16_t base)
{
	outb(base + UART_SCR, 0xa5);
	if (inb(base + UART_SCR) != 0xa5)
		return false;
	outb(base + UART_SCR, 0x5a);
	return inb(base + UART_SCR) == 0x5a;
}

void serial_init(void)
{
	for (unsigned n = 0; n < SERIAL_PORTS; n++) {
		uint16_t base = port_base[n];

		present[n] = probe(base);
		if (!present[n])
			continue;
		outb(base + UART_IER, 0);
		outb(base + UART_LCR, LCR_DLAB | LCR_8N1);
		outb(base + UART_DATA, 1); /* 115200 baud */
		outb(base + UART_IER, 0);
		outb(base + UART_LCR, LCR_8N1);
		outb(base + UART_FCR, FCR_ENABLE_CLEAR);
		outb(base + UART_MCR, MCR_DTR_RTS_OUT2);
	}
}

bool serial_present(unsigned n)
{
	return n < SERIAL_PORTS && present[n];
}

static bool wait_empty(uint16_t base)
{
	for (unsigned i = 0; i < THRE_POLLS; i++) {
		if (inb(base + UART_LSR) & LSR_THRE)
			return true;
		cpu_relax();
	}
	return false;
}

void arch_console_write(unsigned stream, const char *buf, size_t len)
{
	if (!serial_present(stream))
		return;
	uint16_t base = port_base[stream];

	while (len) {
		size_t n = MIN(len, (size_t)FIFO_BYTES);

		if (!wait_empty(base)) {
			present[stream] = false;
			return;
		}
		for (size_t i = 0; i < n; i++)
			outb(base + UART_DATA, (uint8_t)buf[i]);
		buf += n;
		len -= n;
	}
}

int arch_console_read(unsigned stream)
{
	if (!serial_present(stream))
		return -1;
	uint16_t base = port_base[stream];

	if (!(inb(base + UART_LSR) & LSR_DATA_READY))
		return -1;
	return inb(base + UART_DATA);
}

void early_puts(const char *s)
{
	while (*s) {
		size_t n = 0;

		while (s[n] && s[n] != '\n')
			n++;
		arch_console_write(0, s, n);
		s += n;
		if (*s == '\n') {
			arch_console_write(0, "\r\n", 2);
			s++;
		}
	}
}
