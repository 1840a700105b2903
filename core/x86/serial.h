/* SPDX-License-Identifier: MIT */
/*
 * 16550 serial ports behind arch_console_write()/arch_console_read(): stream 0 = COM1 (log),
 * 1 = COM2 (records), 2 = COM3 (attached console). Polled; no interrupts. A port that is not
 * there swallows output and never has input.
 */
#ifndef CORE_X86_SERIAL_H
#define CORE_X86_SERIAL_H

#include "core/types.h"

#define SERIAL_PORTS 3

/** serial_init() - probe and program COM1 to COM3: 115200 8N1, FIFOs on. Once, on the BSP. */
void serial_init(void);

/** serial_present() - whether stream @n has a UART behind it. */
bool serial_present(unsigned n);

/** early_puts() - write a string to COM1, '\n' as "\r\n". Any context after serial_init(). */
void early_puts(const char *s);

#endif
