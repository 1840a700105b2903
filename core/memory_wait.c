/* SPDX-License-Identifier: MIT */
#include "core/memory_wait.h"

#include "core/arch.h"
#include "percpu/counters.h"
#include "percpu/log.h"
#include "percpu/pcpu.h"

#define WAIT_NS 1000000UL
#define GAP_NS 100000000UL	    /* a wait this long after the last begins anew */
#define PATIENCE_NS 10000000000UL /* then every means has been tried many times */

static struct counter nr_waits = {.name = "memory_waits"};

void memory_wait(struct vcpu *v)
{
	uint64_t now = arch_now_ns();

	counter_register(&nr_waits);
	counter_inc(&nr_waits);
	if (now - v->short_last > GAP_NS) {
		v->short_since = now;
		printk("%s: vCPU %u waits for memory", v->domain->name, v->id);
	}
	v->short_last = now;
	if (now - v->short_since > PATIENCE_NS) {
		domain_crash(v->domain, "out of memory: the host had no frame for it in %lu s",
			     PATIENCE_NS / 1000000000);
		return;
	}
	/* Asleep until the timer, or earlier with an event, which can't be taken yet. */
	timer_disarm(&v->poll_timer);
	if (evtchn_poll_begin(v, NULL, 0))
		return;
	if (!sched_block_current()) {
		evtchn_poll_end(v);
		return;
	}
	timer_arm(&v->poll_timer, now + WAIT_NS);
}
