/* SPDX-License-Identifier: MIT */
/*
 * Grace-period detector for quiescent-state RCU without any shared written line: each pCPU counts
 * its own state changes in its own line, and who waits for a grace period watches these counters.
 *
 * Counter `ctr` of a pCPU: even = offline, odd = online. online/offline add 1, a quiescent state
 * adds 2. Only its pCPU writes it.
 * Invariant: a read section lies within one odd value of its pCPU's counter.
 * Grace period: (1) full fence; (2) snapshot each counter; (3) over when every counter that was
 *   odd has changed.
 * Orders: online: store of the odd value, then full fence, then reads of the section; the waiter:
 *   unlink, full fence, read of the counter. Either the waiter sees the odd value and waits, or
 *   the section sees the unlink. PAIRS: qsbr_fence. Leaving a value: release after the section's
 *   accesses; the waiter's look is an acquire, so they happen before the callbacks.
 *   PAIRS: qsbr_quiesce.
 * Progress: online/offline/quiescent wait-free; the waiter polls and never blocks anybody.
 */
#ifndef PERCPU_QSBR_H
#define PERCPU_QSBR_H

#include "core/types.h"
#include "percpu/cpumask.h"

struct qsbr_state {
	_Atomic uint64_t ctr;
};

struct qsbr_gp {
	cpumask_t waiting; /* pCPUs not yet seen quiescent */
	uint64_t snap[MAX_PCPUS];
};

void qsbr_online(struct qsbr_state *s);
void qsbr_offline(struct qsbr_state *s);
void qsbr_quiescent(struct qsbr_state *s);

static inline bool qsbr_is_online(struct qsbr_state *s)
{
	return atomic_load_explicit(&s->ctr, memory_order_relaxed) & 1;
}

/**
 * qsbr_gp_start() - begin a grace period over all pCPUs there are but the calling one, which is at
 * a quiescent point. Full fence.
 */
void qsbr_gp_start(struct qsbr_gp *gp);

/** qsbr_gp_done() - whether the grace period is over. Acquire when true. */
bool qsbr_gp_done(struct qsbr_gp *gp);

#endif
