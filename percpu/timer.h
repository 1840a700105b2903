/* SPDX-License-Identifier: MIT */
/*
 * Per-pCPU timers: an intrusive pairing heap (no allocation, no capacity), touched by its own pCPU
 * only. arm O(1), expiry and disarm O(log n) amortised. The earliest expiry is programmed with
 * arch_set_deadline() whenever it changes.
 */
#ifndef PERCPU_TIMER_H
#define PERCPU_TIMER_H

#include "core/types.h"

struct timer {
	uint64_t expires_ns;			      /* system time */
	void (*fn)(struct timer *t, uint64_t now_ns); /* on the pCPU where it was armed */
	struct timer *child, *sibling, *prev; /* prev: parent when first child, else left sibling */
	uint16_t cpu;			      /* where armed */
	bool armed;
};

struct timer_heap {
	struct timer *root;
	uint64_t programmed_ns; /* last value given to arch_set_deadline() */
	bool running; /* inside timers_run(): the deadline is programmed once, at its end */
};

/** timer_init() - prepare @t; @fn runs in the exit path, interrupts off, with @t disarmed. */
void timer_init(struct timer *t, void (*fn)(struct timer *t, uint64_t now_ns));

/**
 * timer_arm() - let @t expire at system time @ns on THIS pCPU. Re-arms when armed already (then it
 * must have been armed on this pCPU). @ns in the past expires at the next timers_run().
 */
void timer_arm(struct timer *t, uint64_t ns);

/** timer_disarm() - on the pCPU where @t is armed; no effect when it is not. After it fn won't run. */
void timer_disarm(struct timer *t);

static inline bool timer_armed(const struct timer *t)
{
	return t->armed;
}

/** timers_run() - run fn of every timer of this pCPU with expires_ns <= @now, earliest first. */
void timers_run(uint64_t now);

/** timers_next() - earliest expiry on this pCPU, or TIME_NEVER. */
uint64_t timers_next(void);

static inline uint64_t timer_heap_next(const struct timer_heap *h)
{
	return h->root ? h->root->expires_ns : TIME_NEVER;
}

#endif
