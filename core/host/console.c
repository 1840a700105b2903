/* SPDX-License-Identifier: MIT */
/* Output streams, captured or on stderr; panic() and power-off, which tests can catch. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/fmt.h"
#include "core/host/host.h"

#define STREAMS 3

static struct {
	char *buf;
	size_t size, len;
	const char *input;
} streams[STREAMS];

_Thread_local jmp_buf host_panic_jmp;
_Thread_local bool host_panic_armed;
_Thread_local unsigned host_poweroff_status;
_Thread_local char host_panic_text[256];

void host_console_capture(unsigned stream, char *buf, size_t size)
{
	streams[stream].buf = buf;
	streams[stream].size = size;
	streams[stream].len = 0;
}

size_t host_console_len(unsigned stream)
{
	return streams[stream].len;
}

void host_console_input(unsigned stream, const char *text)
{
	streams[stream].input = text;
}

void arch_console_write(unsigned stream, const char *buf, size_t len)
{
	size_t room;

	if (!streams[stream].buf) {
		fwrite(buf, 1, len, stderr);
		return;
	}
	room = streams[stream].size - streams[stream].len;
	len = MIN(len, room);
	memcpy(streams[stream].buf + streams[stream].len, buf, len);
	streams[stream].len += len;
}

int arch_console_read(unsigned stream)
{
	const char *in = streams[stream].input;

	if (!in || !*in)
		return -1;
	streams[stream].input = in + 1;
	return (unsigned char)*in;
}

void panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fmt_vsnprintf(host_panic_text, sizeof(host_panic_text), fmt, ap);
	va_end(ap);
	if (host_panic_armed) {
		host_panic_armed = false;
		longjmp(host_panic_jmp, HOST_PANIC);
	}
	fprintf(stderr, "panic: %s\n", host_panic_text);
	abort();
}

void arch_poweroff(unsigned status)
{
	host_poweroff_status = status;
	if (host_panic_armed) {
		host_panic_armed = false;
		longjmp(host_panic_jmp, HOST_POWEROFF);
	}
	exit((int)status);
}
