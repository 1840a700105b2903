/* SPDX-License-Identifier: MIT */
#include "core/x86/panic.h"

#include <arch/cpu.h>

#include "core/arch.h"
#include "core/fmt.h"
#include "core/x86/apic.h"
#include "core/x86/power.h"
#include "core/x86/serial.h"
#include "core/x86/smp.h"
#include "percpu/log.h"

#define NOBODY UINT32_MAX

/* How long the others get to stop; in polls, because the clock may be what is broken. */
#define STOP_POLLS 2000000u

static _Atomic uint32_t owner = NOBODY; /* the APIC id that panicked first; only it prints */
static _Atomic unsigned stopped;
static unsigned depth; /* the owner's only */

/* Not this_pcpu(): the panic may be about the stack. */
static uint32_t self(void)
{
	uint32_t r[4];

	cpuid_raw(1, 0, r);
	return r[1] >> 24;
}

static unsigned pcpu_of(uint32_t id)
{
	for (unsigned i = 0; i < smp_online_count(); i++) {
		if (smp_apic_id[i] == id)
			return i;
	}
	return 0;
}

static NORETURN void halt(void)
{
	atomic_fetch_add_explicit(&stopped, 1, memory_order_relaxed);
	for (;;)
		__asm__ volatile("cli; hlt");
}

static void stop_others(void)
{
	unsigned others = smp_online_count() - 1;

	if (!others)
		return;
	apic_send_nmi_all_others();
	for (unsigned i = 0; i < STOP_POLLS; i++) {
		if (atomic_load_explicit(&stopped, memory_order_relaxed) >= others)
			return;
		cpu_relax();
	}
}

static void print_regs(const struct cpu_user_regs *r)
{
	char line[256];

	fmt_snprintf(line, sizeof(line),
		     "vector %u error %x cs:rip %04x:%016lx rflags %08lx ss:rsp %04x:%016lx\n",
		     r->entry_vector & 0xff, r->error_code, r->cs, r->rip, r->rflags, r->ss,
		     r->rsp);
	early_puts(line);
	fmt_snprintf(line, sizeof(line), "rax %016lx rbx %016lx rcx %016lx rdx %016lx\n", r->rax,
		     r->rbx, r->rcx, r->rdx);
	early_puts(line);
	fmt_snprintf(line, sizeof(line), "rsi %016lx rdi %016lx rbp %016lx r8  %016lx\n", r->rsi,
		     r->rdi, r->rbp, r->r8);
	early_puts(line);
	fmt_snprintf(line, sizeof(line), "r9  %016lx r10 %016lx r11 %016lx r12 %016lx\n", r->r9,
		     r->r10, r->r11, r->r12);
	early_puts(line);
	fmt_snprintf(line, sizeof(line), "r13 %016lx r14 %016lx r15 %016lx cr0 %016lx\n", r->r13,
		     r->r14, r->r15, read_cr0());
	early_puts(line);
	fmt_snprintf(line, sizeof(line), "cr2 %016lx cr3 %016lx cr4 %016lx\n", read_cr2(),
		     read_cr3(), read_cr4());
	early_puts(line);
}

static NORETURN PRINTF(2, 0) void vpanic(const struct cpu_user_regs *regs, const char *fmt,
					 va_list ap)
{
	char line[320];
	uint32_t me = self(), first = NOBODY;

	__asm__ volatile("cli");
	if (!atomic_compare_exchange_strong(&owner, &first, me) && first != me)
		halt();
	if (depth++) { /* a fault while panicking: say so once, then only go */
		if (depth == 2) {
			early_puts("\npanic within panic: ");
			fmt_vsnprintf(line, sizeof(line), fmt, ap);
			early_puts(line);
			early_puts("\n");
		}
		arch_poweroff(POWER_STATUS_PANIC);
	}
	stop_others();
	log_panic_flush();
	fmt_snprintf(line, sizeof(line), "\npanic on pCPU %u (APIC id %u): ", pcpu_of(me), me);
	early_puts(line);
	fmt_vsnprintf(line, sizeof(line), fmt, ap);
	early_puts(line);
	early_puts("\n");
	if (regs) {
		print_regs(regs);
		backtrace_from(regs->rip, regs->rbp);
	} else {
		backtrace_from((uint64_t)__builtin_return_address(0),
			       *(uint64_t *)__builtin_frame_address(0));
	}
	arch_poweroff(POWER_STATUS_PANIC);
}

void panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vpanic(NULL, fmt, ap);
}

void panic_regs(const struct cpu_user_regs *regs, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vpanic(regs, fmt, ap);
}

bool panic_nmi(const struct cpu_user_regs *regs)
{
	(void)regs;
	if (atomic_load_explicit(&owner, memory_order_relaxed) == NOBODY)
		return false;
	halt();
}
