/* SPDX-License-Identifier: MIT */
/*
 * A vCPU's timers: single-shot and periodic (both raise VIRQ_TIMER), and the end of a poll. They
 * are in the heap of the vCPU's home pCPU and move with it; only that pCPU touches them. Another
 * pCPU that changes the period leaves the new value and sends a message to the home.
 */
#ifndef CORE_VCPU_TIMER_H
#define CORE_VCPU_TIMER_H

#include "core/types.h"

struct vcpu;
struct sched_unit;

#define VCPU_TIMER_MIN_PERIOD_NS NS_PER_MS

/** vcpu_timer_init() - none is armed. */
void vcpu_timer_init(struct vcpu *v);

/** vcpu_timer_set() - current vCPU: VIRQ_TIMER at system time @ns; 0 stops the timer. */
void vcpu_timer_set(struct vcpu *v, uint64_t ns);

/**
 * vcpu_timer_set_period() - VIRQ_TIMER every @ns from now on, 0 for never. Any pCPU; asynchronous
 * when @v is not current here.
 */
void vcpu_timer_set_period(struct vcpu *v, uint64_t ns);

/** vcpu_timer_apply_period() - arm or disarm as the period asked for says. Home pCPU. */
void vcpu_timer_apply_period(struct vcpu *v);

/** vcpu_ctl_post() - make @v's home pCPU look at its period and whether it is up. Any pCPU. */
void vcpu_ctl_post(struct vcpu *v);

/** vcpu_timer_migrate_out/in() - scheduler hooks: take them off the old home, arm on the new. */
void vcpu_timer_migrate_out(struct sched_unit *u);
void vcpu_timer_migrate_in(struct sched_unit *u);

/** vcpu_timer_stop() - disarm all; on the pCPU where @v was stopped. */
void vcpu_timer_stop(struct vcpu *v);

#endif
