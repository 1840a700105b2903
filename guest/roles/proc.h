/* SPDX-License-Identifier: MIT */
#ifndef MINI_ROLES_PROC_H
#define MINI_ROLES_PROC_H

#include "rt/proc.h"

/* Run p; its next trap must be SYS_REPORT of this value. */
void expect_report(struct proc *p, uint64_t value, const char *what);

/* FP and debug state, segment bases, events in user mode, system-call registers. */
void proc_state_tests(void);

/* GDT and LDT. */
void proc_desc_tests(void);

#endif
