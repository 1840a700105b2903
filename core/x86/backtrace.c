/* SPDX-License-Identifier: MIT */
/* Walks the chain of frame pointers: everything is built with them. */
#include <arch/cpu.h>
#include <arch/layout.h>

#include "core/arch.h"
#include "core/fmt.h"
#include "core/x86/ksyms.h"
#include "core/x86/panic.h"
#include "core/x86/serial.h"

#define MAX_FRAMES 32

extern char _start[], _etext[], _erodata[], _end[];

static bool in_text(uint64_t a)
{
	return a >= (uint64_t)_start && a < (uint64_t)_etext;
}

/* A place where a stack can be and that is mapped, guard pages excepted. */
static bool in_stack(uint64_t a)
{
	if (a & 7)
		return false;
	return (a >= STACKS_VIRT && a < STUBS_VIRT - 16) ||
	       (a >= (uint64_t)_erodata && a < (uint64_t)_end - 16);
}

/* Frames lie between the first one and the end of the stack; the outermost one has no caller's. */
unsigned arch_callers(const void *frame, uintptr_t *pc, unsigned n)
{
	const uintptr_t *f = frame, *end = (const uintptr_t *)cpu_info();
	unsigned i;

	for (i = 0; i < n && f + 1 < end && in_text(f[1]); i++) {
		pc[i] = f[1];
		if ((const uintptr_t *)f[0] <= f || f[0] & 7)
			return i + 1;
		f = (const uintptr_t *)f[0];
	}
	return i;
}

static void print_frame(uint64_t rip)
{
	char line[160];
	uint64_t off;
	const char *name = ksyms_lookup(rip, &off);

	if (name)
		fmt_snprintf(line, sizeof(line), "  [%016lx] %s+0x%lx\n", rip, name, off);
	else
		fmt_snprintf(line, sizeof(line), "  [%016lx]\n", rip);
	early_puts(line);
}

void backtrace_from(uint64_t rip, uint64_t rbp)
{
	early_puts("backtrace:\n");
	print_frame(rip);
	for (unsigned i = 0; i < MAX_FRAMES && in_stack(rbp); i++) {
		const uint64_t *frame = (const uint64_t *)rbp;

		if (!in_text(frame[1]))
			break;
		print_frame(frame[1]);
		if (frame[0] <= rbp) /* callers' frames are above */
			break;
		rbp = frame[0];
	}
}
