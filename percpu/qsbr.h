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

void qsbr_quiescent(struct qsbr_state *s);

static inline bool qsbr_is_online(struct qsbr_state *s)
{
	return atomic_load_explicit(&s->ctr, memory_order_relaxed) & 1;
}

/* Only the owner writes its counter, so a load and a store do instead of an RMW. */
static inline void qsbr_advance(struct qsbr_state *s, uint64_t by, bool online)
{
	uint64_t v = atomic_load_explicit(&s->ctr, memory_order_relaxed);

	BUG_ON((v & 1) != online);
	/* PAIRS: qsbr_quiesce: the section that ends here is complete. */
	atomic_store_explicit(&s->ctr, v + by, memory_order_release);
}

/* Inline: every entry from a guest goes online, and every return offline. */
static inline void qsbr_online(struct qsbr_state *s)
{
	qsbr_advance(s, 1, false);
	/* PAIRS: qsbr_fence: the section that begins here reads after its counter is visible. */
	atomic_thread_fence(memory_order_seq_cst);
}

static inline void qsbr_offline(struct qsbr_state *s)
{
	qsbr_advance(s, 1, true);
}

/**
 * qsbr_gp_start() - begin a grace period over all pCPUs there are but the calling one, which is at
 * a quiescent point. Full fence.
 */
void qsbr_gp_start(struct qsbr_gp *gp);

/** qsbr_gp_done() - whether the grace period is over. Acquire when true. */
bool qsbr_gp_done(struct qsbr_gp *gp);

#endif
