/* SPDX-License-Identifier: MIT */
#include "core/memory_wait.h"

#include "core/arch.h"
#include "memsvc/memctl.h"
#include "percpu/counters.h"
#include "percpu/log.h"
#include "percpu/pcpu.h"

#define WAIT_NS 1000000UL
#define GAP_NS 100000000UL /* a wait this long after the last begins anew */
#define TELL_NS NS_PER_SEC
#define PATIENCE_NS (10 * NS_PER_SEC) /* then every means has been tried many times */
#define HURRY 10		      /* and this many times that, if memory still comes back */

static struct counter nr_waits = {.name = "memory_waits"};

/* Of each pCPU whose reserve is low. Its own. */
static struct {
	struct shortage s;
} CACHE_ALIGNED droughts[MAX_PCPUS];

/* How long @s has lasted; @other: it is another one than before. *@tell: once, when it gets long. */
static uint64_t lasted(struct shortage *s, uint64_t now, bool other, bool *tell)
{
	if (other || now - s->last > GAP_NS) {
		s->since = now;
		s->told = false;
	}
	s->last = now;
	*tell = now - s->since > TELL_NS && !s->told;
	s->told |= *tell;
	return now - s->since;
}

/* Asleep until the timer, or earlier with an event, which can't be taken yet. */
static void doze(struct vcpu *v, uint64_t now)
{
	timer_disarm(&v->poll_timer);
	if (evtchn_poll_begin(v, NULL, 0))
		return;
	if (!sched_block_current()) {
		evtchn_poll_end(v);
		return;
	}
	timer_arm(&v->poll_timer, now + WAIT_NS);
}

void memory_wait(struct vcpu *v, uint64_t va)
{
	uint64_t now = arch_now_ns(), waited;
	bool tell;

	counter_register(&nr_waits);
	counter_inc(&nr_waits);
	if (!memctl_must_wait(v->domain))
		memctl_kick(); /* an allocation failed */
	/* Another address: the last one was served. */
	waited = lasted(&v->shortage, now, v->short_at != va, &tell);
	v->short_at = va;
	if (tell)
		printk("%s: vCPU %u waits for memory", v->domain->name, v->id);
	if (waited > PATIENCE_NS && (memctl_may_end(now) || waited > HURRY * PATIENCE_NS)) {
		domain_crash(v->domain, "out of memory: the host had no frame for it in %lu s",
			     (unsigned long)(waited / NS_PER_SEC));
		return;
	}
	doze(v, now);
}

bool memory_wait_reserve(struct pcpu *p)
{
	struct vcpu *v = p->current;
	uint64_t now, waited;
	bool tell;

	if (likely(page_cache_refill(&p->pages)) || !v)
		return true;
	now = arch_now_ns();
	counter_register(&nr_waits);
	counter_inc(&nr_waits);
	memctl_kick();
	waited = lasted(&droughts[p->id].s, now, false, &tell);
	if (tell)
		printk("pCPU %u: its guests wait, the reserve of frames is used up", p->id);
	p->work |= WORK_RESCHED;
	/* Those that have more than their share go first. */
	if (waited > (atomic_load_explicit(&v->domain->mm.over, memory_order_relaxed) ? 1 : 2) *
			     PATIENCE_NS &&
	    memctl_may_end(now))
		domain_crash(v->domain, "out of memory: the host had no frame in reserve in %lu s",
			     (unsigned long)(waited / NS_PER_SEC));
	else
		doze(v, now);
	return false;
}
