/* SPDX-License-Identifier: MIT */
/* Bringing up vCPUs and giving them work. */
#ifndef MINI_SMP_H
#define MINI_SMP_H

#include "rt/cpu.h"

/* Set up the boot vCPU's state; count the domain's vCPUs into nr_cpus. */
void smp_init(void);
void smp_register_boot(void);

/* Bring up every vCPU; they idle until smp_call(). */
void smp_up_all(void);

/* Start fn(arg) on an idle vCPU (not the caller). */
void smp_call(unsigned int cpu, void (*fn)(void *arg), void *arg);
/* Wait until its work is done. */
void smp_wait(unsigned int cpu);
/* Run fn on all vCPUs, the caller included, and wait for all. */
void smp_call_all(void (*fn)(void *arg), void *arg);

/* Give other vCPUs a chance while spinning. */
void spin_wait(unsigned long *spins);

/* This vCPU's time in each RUNSTATE_*, ns, up to now. */
void runstate_read(uint64_t time[4]);

#endif
