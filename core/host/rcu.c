/* SPDX-License-Identifier: MIT */
/*
 * RCU backends of the host: urcu-qsbr or percpu/qsbr.c. With urcu a grace period is a call_rcu()
 * whose callback, in urcu's own thread, marks the pCPU's batch as due and kicks the pCPU, so
 * callbacks run where they do on bare metal.
 *
 * liburcu is not instrumented, so a sanitizer does not see its ordering; `edges` shows it: each
 * quiescent state is an RMW on it and so is the end of a grace period.
 */
/* liburcu's struct rcu_head is a different type from ours and is used under another tag here. */
#define rcu_head urcu_head
#include <urcu/urcu-qsbr.h>
#undef rcu_head
#undef rcu_dereference
#undef rcu_assign_pointer

#include <stdlib.h>

#include <arch/rcu.h>

#if defined(__GNUC__) && !defined(__clang__)
/* The fence of qsbr_online(): what it orders, `edges` shows to the sanitizer. */
#pragma GCC diagnostic ignored "-Wtsan"
#endif

#include "core/host/host.h"
#include "core/host/host_impl.h"

struct host_gp {
	struct urcu_head head;
	struct pcpu *pcpu;
	_Atomic bool done;
};

static enum host_rcu backend = HOST_RCU_URCU;
static _Thread_local bool registered;
static _Thread_local bool online;
static _Atomic uint64_t edges;

void host_rcu_select(enum host_rcu which)
{
	backend = which;
}

void arch_rcu_online(struct pcpu *p)
{
	if (backend == HOST_RCU_QSBR) {
		qsbr_online(&p->qsbr);
		return;
	}
	if (registered)
		urcu_qsbr_thread_online();
	else
		urcu_qsbr_register_thread();
	registered = true;
	online = true;
	atomic_fetch_add(&edges, 1);
}

void arch_rcu_offline(struct pcpu *p)
{
	if (backend == HOST_RCU_QSBR) {
		qsbr_offline(&p->qsbr);
		return;
	}
	atomic_fetch_add(&edges, 1);
	online = false;
	urcu_qsbr_thread_offline();
}

void arch_rcu_quiescent(struct pcpu *p)
{
	if (backend == HOST_RCU_QSBR) {
		qsbr_quiescent(&p->qsbr);
		return;
	}
	atomic_fetch_add(&edges, 1);
	urcu_qsbr_quiescent_state();
	atomic_fetch_add(&edges, 1);
}

bool arch_rcu_is_online(struct pcpu *p)
{
	return backend == HOST_RCU_QSBR ? qsbr_is_online(&p->qsbr) : online;
}

static void gp_over(struct urcu_head *head)
{
	struct host_gp *gp = container_of(head, struct host_gp, head);

	atomic_fetch_add(&edges, 1);
	atomic_store(&gp->done, true);
	arch_kick(gp->pcpu->id);
}

void arch_rcu_gp_start(struct pcpu *p)
{
	struct host_gp *gp = p->arch.rcu_state;

	if (backend == HOST_RCU_QSBR) {
		qsbr_gp_start(&p->rcu.gp);
		return;
	}
	if (!gp) {
		gp = calloc(1, sizeof(*gp));
		if (!gp)
			panic("no memory for RCU");
		gp->pcpu = p;
		p->arch.rcu_state = gp;
	}
	atomic_store(&gp->done, false);
	urcu_qsbr_call_rcu(&gp->head, gp_over);
}

bool arch_rcu_gp_done(struct pcpu *p)
{
	struct host_gp *gp = p->arch.rcu_state;

	if (backend == HOST_RCU_QSBR)
		return qsbr_gp_done(&p->rcu.gp);
	return atomic_load(&gp->done);
}

void host_rcu_thread_exit(void)
{
	if (!registered)
		return;
	urcu_qsbr_unregister_thread();
	registered = false;
}
