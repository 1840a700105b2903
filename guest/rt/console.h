/* SPDX-License-Identifier: MIT */
/*
 * Console output: the domU ring (xen/io/console.h), or console_io for the
 * initial domain and before the ring is known.
 */
#ifndef MINI_CONSOLE_H
#define MINI_CONSOLE_H

#include "rt/base.h"

struct xencons_interface;

/* Use this ring and its event channel from now on; NULL: console_io. */
void console_init(struct xencons_interface *ring, uint32_t port);

/* Format and print; %d %i %u %x %c %s %p with width, 0-fill and l modifiers. Any context. */
void printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int vsnprintf(char *buf, size_t size, const char *fmt, __builtin_va_list ap);

/* Wait, for a bounded time, until the other end has taken all output. */
void console_drain(void);

#endif
