/* SPDX-License-Identifier: MIT */
/*
 * Read-copy-update, quiescent-state based; the API of urcu-qsbr. A pCPU is online while it runs
 * hypervisor code and offline in guest mode and idle, so that neither delays a grace period.
 *
 * A: what a reader reached by rcu_dereference() stays allocated until the reader's pCPU next
 *    passes rcu_quiescent_state() or goes offline.
 * B: call_rcu(head, fn): fn runs after every pCPU that was online at the call has been quiescent
 *    or offline once; on the pCPU that called, from its exit path, in the order of the calls.
 *    Looking at other pCPUs is left to a timer, RCU_POLL_NS after the call, or to the next time the
 *    pCPU comes out of idle: an operation that calls touches none of their lines. Who waits for fn
 *    uses call_rcu_hurry(); while memory is short every call is one.
 * C: everything before call_rcu() happens before fn; everything a reader did in its section
 *    happens before fn.
 *
 * The grace-period detector is per arch (<arch/rcu.h>): percpu/qsbr.c on bare metal, urcu-qsbr or
 * percpu/qsbr.c on the host. Callback lists are here, per pCPU and private to it.
 */
#ifndef PERCPU_RCU_H
#define PERCPU_RCU_H

#include "core/types.h"
#include "percpu/qsbr.h"
#include "percpu/timer.h"

#define RCU_POLL_NS (200 * NS_PER_US)

struct rcu_head {
	struct rcu_head *next;
	void (*func)(struct rcu_head *head);
};

/* A pCPU's callbacks; private to it. */
struct rcu_pcpu {
	struct rcu_head *next, **next_tail; /* called, no grace period yet */
	struct rcu_head *wait, **wait_tail; /* waiting for the running grace period */
	bool gp_running;
	uint64_t nr_called, nr_invoked;
	struct timer poll; /* looks: first, and again while a grace period runs */
	struct qsbr_gp gp;
};

/** rcu_init_pcpu() - by pcpu_init(). */
struct pcpu;
void rcu_init_pcpu(struct pcpu *p);

/** rcu_read_lock/unlock() - mark a read section; no code on bare metal. May nest. */
static inline void rcu_read_lock(void)
{
	atomic_signal_fence(memory_order_seq_cst);
}

static inline void rcu_read_unlock(void)
{
	atomic_signal_fence(memory_order_seq_cst);
}

/* PAIRS: rcu_publish: acquires what the publisher wrote into the object before. */
#define rcu_dereference(p) __atomic_load_n(&(p), __ATOMIC_ACQUIRE)
/* PAIRS: rcu_publish: releases the object's initialisation. */
#define rcu_assign_pointer(p, v) __atomic_store_n(&(p), (v), __ATOMIC_RELEASE)

/** rcu_quiescent_state() - this pCPU holds no RCU-protected pointer now. Online, exit path. */
void rcu_quiescent_state(void);

/** rcu_thread_offline() - before guest mode or idle; no RCU-protected pointer is held. */
void rcu_thread_offline(void);

/** rcu_thread_online() - on entry from guest mode or idle; full barrier. */
void rcu_thread_online(void);

/** rcu_is_online() - whether this pCPU is online (for assertions). */
bool rcu_is_online(void);

/**
 * call_rcu() - run @fn(@head) after a grace period on this pCPU, from its exit path. Any
 * hypervisor context after pcpu_init(); never blocks or fails. @head lives in the object.
 */
void call_rcu(struct rcu_head *head, void (*fn)(struct rcu_head *head));

/** call_rcu_hurry() - the same, for all called so far; looks as soon as this pCPU's exit path. */
void call_rcu_hurry(struct rcu_head *head, void (*fn)(struct rcu_head *head));

/**
 * rcu_poll() - advance this pCPU's grace period and run callbacks that are due. Cheap when there
 * are none. Called from the exit path; itself a quiescent point of this pCPU (no RCU-protected
 * pointer is held). More callbacks may be due while work has WORK_RCU set.
 */
void rcu_poll(void);

/** rcu_pending() - whether this pCPU has callbacks that have not run. */
bool rcu_pending(void);

#endif
