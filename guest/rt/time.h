/* SPDX-License-Identifier: MIT */
/* System time (pvclock), wall clock, and timers. All times in ns. */
#ifndef MINI_TIME_H
#define MINI_TIME_H

#include "rt/cpu.h"

/* System time since boot of the host; this vCPU's own clock. */
uint64_t time_ns(void);
/* Read another copy of the clock (a registered time area, another vCPU's is invalid here). */
uint64_t time_read(const volatile struct vcpu_time_info *t);
/* Wall-clock base, ns since 1970, of system time 0. */
uint64_t wallclock_base(void);

/* Bind VIRQ_TIMER on this vCPU; counts in cpu->timer_count. */
void timer_init(void);
/* Arm this vCPU's singleshot timer; 0 or -XEN_E*. */
long timer_arm(uint64_t abs_ns, uint32_t flags);
/* Block this vCPU until an absolute time. */
void sleep_until(uint64_t abs_ns);
/* Block until an event comes; returns at once if one is pending. */
void block(void);

#endif
