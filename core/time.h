/* SPDX-License-Identifier: MIT */
/*
 * Time as guests see it (ABI: struct vcpu_time_info and wc_* of struct shared_info in <xen/xen.h>):
 * system_time + (((tsc - tsc_timestamp) << shift) * mul >> 32), and the wall clock of system time 0.
 */
#ifndef CORE_TIME_H
#define CORE_TIME_H

#include "core/types.h"

#include <xen/xen.h>

/* Parameters that turn TSC ticks into ns. */
struct time_scale {
	uint32_t mul;
	int8_t shift;
};

/** time_scale_from_hz() - the scale for a TSC of @hz (1 to 2^40); error below 2^-31. */
struct time_scale time_scale_from_hz(uint64_t hz);

/** time_scale_apply() - ticks to ns, as a guest computes it. */
uint64_t time_scale_apply(struct time_scale s, uint64_t ticks);

/**
 * time_info_write() - publish @scale at (@tsc, @system_time) by the version protocol (odd while
 * in change). @t is the vcpu_info in use; one writer: the pCPU on which the vCPU is current.
 */
void time_info_write(struct vcpu_time_info *t, struct time_scale s, uint64_t tsc,
		     uint64_t system_time);

/** time_vcpu_info() - the same for a vcpu_info, with this machine's parameters. */
void time_vcpu_info(vcpu_info_t *vi);

/**
 * time_area_write() - fill a VCPUOP_register_vcpu_time_memory_area at guest address @gva of the
 * current vCPU. 0 or -XEN_EFAULT.
 */
int time_area_write(uint64_t gva);

/**
 * time_wallclock_write() - publish the wall clock of system time 0, in ns since the Unix epoch.
 * At build time; one writer.
 */
void time_wallclock_write(shared_info_t *si, uint64_t epoch_ns);

#endif
