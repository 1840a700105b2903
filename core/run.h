/* SPDX-License-Identifier: MIT */
/* Between hypervisor and guest: pending work, scheduling, idling, event delivery. */
#ifndef CORE_RUN_H
#define CORE_RUN_H

#include "core/domain.h"
#include "core/evtchn.h"

/**
 * run_pending() - messages, timers and scheduling until no work is left on this pCPU, @p. What is
 * current then may be NULL. Context as run_before_guest().
 */
void run_pending(struct pcpu *p);

/**
 * run_exit_work() - the slow part of run_before_guest(): messages, timers, scheduling; idles while
 * there is nothing to run. Returns with a vCPU current whose context is loaded.
 */
void run_exit_work(struct pcpu *p);

/** arch_deliver_events() - enter the guest's event callback if one is due; current vCPU. */
void arch_deliver_events(struct vcpu *v);

/**
 * run_before_guest() - everything due before this pCPU returns to guest mode. Interrupts off,
 * RCU-online, hypervisor stack. The fast path reads two words.
 */
static inline void run_before_guest(struct pcpu *p)
{
	while (unlikely(p->work || vcpu_event_pending(p->current))) {
		if (p->work)
			run_exit_work(p);
		arch_deliver_events(p->current);
		/* Masked now, or no callback; a failed delivery ended the domain: look again. */
		if (likely(!p->work))
			return;
	}
}

/** run_loop() - enter scheduling on a pCPU that has come up; never returns. */
NORETURN void run_loop(void);

/** arch_enter_guest() - drop the stack and return to the current vCPU's guest. */
NORETURN void arch_enter_guest(void);

#endif
