/* SPDX-License-Identifier: MIT */
/* The exit path of every pCPU: pending work, the scheduler's choice, the idle loop. */
#include "core/run.h"

#include "core/arch.h"
#include "core/memory_wait.h"
#include "core/vcpu_area.h"
#include "memsvc/frame.h"
#include "memsvc/scan.h"
#include "percpu/inbox.h"
#include "percpu/log.h"
#include "percpu/pcpu.h"
#include "percpu/rcu.h"
#include "percpu/tlb.h"

/* Whatever another pCPU or an interrupt asked for. May set p->work again. */
static uint64_t serve(struct pcpu *p)
{
	uint64_t now;

	p->work &= WORK_RCU | WORK_TLB;
	tlb_serve();
	inbox_drain();
	now = arch_now_ns();
	timers_run(now);
	/* It looks at other pCPUs: only when it is due, or frames may be waited for. */
	if (p->work & WORK_RCU || memory_is_short())
		rcu_poll(); /* a quiescent point: nothing protected by RCU is held here */
	return now;
}

static void switch_to(struct pcpu *p, struct vcpu *next)
{
	struct vcpu *prev = p->current;

	if (prev == next)
		return;
	if (prev)
		vcpu_switched_out(prev);
	arch_context_switch(prev, next);
	if (next)
		vcpu_switched_in(next);
	/* The one before may be waiting to be declared stopped. */
	p->work |= WORK_RESCHED;
}

static void idle(struct pcpu *p)
{
	if (p->id == 0)
		log_drain();
	tlb_idle(timer_heap_next(&p->timers));
	tlb_retire_idle();
	rcu_quiescent_state();
	if (inbox_pending(&p->inbox))
		p->work |= WORK_INBOX;
	if (p->work)
		return;
	if (scan_idle(p)) {
		/* No interrupt is taken in between: look at everything. */
		p->work |= WORK_RESCHED | WORK_RCU;
		return;
	}
	rcu_thread_offline();
	arch_idle();
	rcu_thread_online();
	p->work |= WORK_RESCHED | WORK_RCU;
}

void run_pending(struct pcpu *p)
{
	while (p->work) {
		uint64_t now = serve(p);
		struct sched_unit *u = sched_pick(now);

		switch_to(p, u ? vcpu_of_unit(u) : NULL);
	}
}

void run_exit_work(struct pcpu *p)
{
	for (;;) {
		run_pending(p);
		if (unlikely(page_cache_short(&p->pages)) && !memory_wait_reserve(p))
			continue;
		if (p->current)
			return;
		idle(p);
	}
}

void run_loop(void)
{
	struct pcpu *p = this_pcpu();

	for (;;) {
		p->work |= WORK_RESCHED;
		run_exit_work(p);
		run_before_guest(p);
		rcu_thread_offline();
		arch_enter_guest();
	}
}
