/* SPDX-License-Identifier: MIT */
/* Domains on real threads (for TSan): each thread is a pCPU that runs the vCPUs it is given. */
#ifndef TESTS_DOM_THREADS_H
#define TESTS_DOM_THREADS_H

#include "tests/dom_sim.h"

/* What a test makes of them. */
struct dom_threads {
	unsigned pcpus;
	struct boot_module mods[2];	    /* booted by pCPU 0 */
	void (*guest_step)(struct vcpu *v); /* as current vCPU @v */
	void (*pcpu0_step)(void);	    /* on pCPU 0, between guests, or NULL */
	_Atomic bool stop;
	_Atomic unsigned status; /* of the power-off */
};

static inline void dom_threads_pcpu(void *arg)
{
	struct dom_threads *t = arg;
	struct pcpu *p = this_pcpu();

	if (HOST_CATCH_PANIC()) {
		atomic_store(&t->status, host_poweroff_status);
		atomic_store(&t->stop, true);
		for (unsigned i = 0; i < t->pcpus; i++)
			arch_kick(i);
		return;
	}
	if (p->id == 0)
		domains_boot(t->mods, ARRAY_SIZE(t->mods));
	while (!atomic_load(&t->stop)) {
		sim_exit_path(p->id);
		if (p->id == 0 && t->pcpu0_step)
			t->pcpu0_step();
		if (p->current) {
			if (!vcpu_must_stop(p->current) && atomic_load(&p->current->is_up))
				t->guest_step(p->current);
			continue;
		}
		rcu_thread_offline();
		arch_idle();
		rcu_thread_online();
	}
}

/* Until the machine powers off. */
static inline void dom_threads_run(struct dom_threads *t)
{
	host_clock_virtual(false);
	host_threads_start(t->pcpus, dom_threads_pcpu, t);
	host_threads_join();
}

/* The guest takes what is pending for @v, whatever it is. */
static inline void sim_take_events(struct vcpu *v)
{
	vcpu_info_t *vi = atomic_load(&v->info);

	__atomic_store_n(&vi->evtchn_upcall_pending, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&vi->evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < 64; i++)
		__atomic_store_n(&v->domain->shared->evtchn_pending[i], 0, __ATOMIC_SEQ_CST);
}

#endif
