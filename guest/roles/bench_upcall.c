/* SPDX-License-Identifier: MIT */
/* A short event upcall: what it costs the guest should not hide what it costs the hypervisor. */
#include "roles/bench.h"
#include "rt/event.h"
#include "rt/role.h"
#include "rt/trap.h"
#include <stdatomic.h>

volatile unsigned long bench_handled[2];

static uint32_t own_port[2];
extern char bench_upcall_entry[];

__asm__(".pushsection .text\n"
	"bench_upcall_entry:\n"
	"	popq	%rcx\n"
	"	popq	%r11\n"
	"	pushq	%rax\n"
	"	pushq	%rcx\n"
	"	pushq	%rdx\n"
	"	pushq	%rsi\n"
	"	pushq	%rdi\n"
	"	pushq	%r8\n"
	"	pushq	%r9\n"
	"	pushq	%r10\n"
	"	pushq	%r11\n"
	"	call	bench_upcall\n"
	"	popq	%r11\n"
	"	popq	%r10\n"
	"	popq	%r9\n"
	"	popq	%r8\n"
	"	popq	%rdi\n"
	"	popq	%rsi\n"
	"	popq	%rdx\n"
	"	popq	%rcx\n"
	"	popq	%rax\n"
	"	pushq	$0\n"
	"	jmp	hypercall_page + 23 * 32\n"
	".popsection\n");
_Static_assert(__HYPERVISOR_iret == 23, "the number in the code above");

/* Called from the entry above. */
void bench_upcall(void);
void bench_upcall(void)
{
	struct cpu *c = this_cpu();
	uint32_t port = own_port[c->id];

	c->vi->evtchn_upcall_pending = 0;
	atomic_store((_Atomic xen_ulong_t *)&c->vi->evtchn_pending_sel, 0);
	if (!event_pending(port))
		return;
	event_clear(port);
	bench_handled[c->id]++;
}

void bench_upcall_use(uint32_t port)
{
	own_port[this_cpu()->id] = port;
	bench_handled[this_cpu()->id] = 0;
	trap_callback(CALLBACKTYPE_event, bench_upcall_entry);
}

void bench_wait(unsigned int id)
{
	events_mask();
	while (!bench_handled[id]) {
		BENCH_HC2(sched_op, SCHEDOP_block, 0);
		events_mask();
	}
	bench_handled[id] = 0;
}

void bench_upcall_drop(void)
{
	trap_callback(CALLBACKTYPE_event, event_callback);
}
