/* SPDX-License-Identifier: MIT */
/* RCU callbacks: two lists per pCPU, the second one waits for the grace period under way. */
#include "percpu/rcu.h"

#include <arch/rcu.h>

#include "memsvc/frame.h"
#include "percpu/pcpu.h"

void rcu_quiescent_state(void)
{
	arch_rcu_quiescent(this_pcpu());
}

void rcu_thread_offline(void)
{
	arch_rcu_offline(this_pcpu());
}

void rcu_thread_online(void)
{
	arch_rcu_online(this_pcpu());
}

bool rcu_is_online(void)
{
	return arch_rcu_is_online(this_pcpu());
}

bool rcu_pending(void)
{
	struct rcu_pcpu *r = &this_pcpu()->rcu;

	return r->next || r->wait;
}

/* The poll timer only brings the pCPU to its exit path, where rcu_poll() is called. */
static void poll_expired(struct timer *t, uint64_t now_ns)
{
	(void)t;
	(void)now_ns;
	this_pcpu()->work |= WORK_RCU;
}

void rcu_init_pcpu(struct pcpu *p)
{
	struct rcu_pcpu *r = &p->rcu;

	r->next_tail = &r->next;
	r->wait_tail = &r->wait;
	timer_init(&r->poll, poll_expired);
}

static void look_later(struct rcu_pcpu *r)
{
	if (!timer_armed(&r->poll))
		timer_arm(&r->poll, arch_now_ns() + RCU_POLL_NS);
}

static void queue(struct rcu_pcpu *r, struct rcu_head *head, void (*fn)(struct rcu_head *head))
{
	head->next = NULL;
	head->func = fn;
	*r->next_tail = head;
	r->next_tail = &head->next;
	r->nr_called++;
}

void call_rcu(struct rcu_head *head, void (*fn)(struct rcu_head *head))
{
	struct pcpu *p = this_pcpu();

	queue(&p->rcu, head, fn);
	if (memory_is_short())
		p->work |= WORK_RCU;
	else
		look_later(&p->rcu);
}

void call_rcu_hurry(struct rcu_head *head, void (*fn)(struct rcu_head *head))
{
	struct pcpu *p = this_pcpu();

	queue(&p->rcu, head, fn);
	p->work |= WORK_RCU;
}

static void invoke(struct rcu_pcpu *r)
{
	struct rcu_head *list = r->wait;

	r->wait = NULL;
	r->wait_tail = &r->wait;
	while (list) {
		struct rcu_head *next = list->next;

		r->nr_invoked++;
		list->func(list);
		list = next;
	}
}

void rcu_poll(void)
{
	struct pcpu *p = this_pcpu();
	struct rcu_pcpu *r = &p->rcu;

	p->work &= ~WORK_RCU;
	while (r->gp_running || r->next) {
		if (!r->gp_running) {
			r->wait = r->next;
			r->wait_tail = r->next_tail;
			r->next = NULL;
			r->next_tail = &r->next;
			r->gp_running = true;
			arch_rcu_gp_start(p);
		}
		if (!arch_rcu_gp_done(p)) {
			look_later(r);
			return;
		}
		r->gp_running = false;
		invoke(r);
		if (p->work) {
			if (r->next) /* meanwhile, or by the callbacks */
				p->work |= WORK_RCU;
			return;
		}
	}
}
