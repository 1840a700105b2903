/* SPDX-License-Identifier: MIT */
#include "core/time.h"

#include "core/arch.h"
#include "core/lib.h"
#include "core/xen_errno.h"

struct time_scale time_scale_from_hz(uint64_t hz)
{
	struct time_scale s = {0, 0};
	uint64_t quotient, rest;

	/* ns = ticks * 2^shift * mul / 2^32; shift is such that mul's top bit is set. */
	while (hz <= NS_PER_SEC) {
		hz <<= 1;
		s.shift++;
	}
	while (hz >> -MIN(s.shift, 0) > 2 * NS_PER_SEC)
		s.shift--;
	quotient = (NS_PER_SEC << 32) / hz;
	rest = (NS_PER_SEC << 32) % hz;
	if (s.shift < 0) /* in two steps: the dividend would not fit 64 bits */
		quotient = quotient << -s.shift | (rest << -s.shift) / hz;
	s.mul = (uint32_t)quotient;
	return s;
}

uint64_t time_scale_apply(struct time_scale s, uint64_t ticks)
{
	if (s.shift < 0)
		ticks >>= -s.shift;
	else
		ticks <<= s.shift;
	return (uint64_t)(((unsigned __int128)ticks * s.mul) >> 32);
}

/*
 * Readers, the guest's, take version, then the data, then version again; the writer's odd value is
 * visible before any new data, the new data before the even value.
 */
void time_info_write(struct vcpu_time_info *t, struct time_scale s, uint64_t tsc,
		     uint64_t system_time)
{
	uint32_t version = __atomic_load_n(&t->version, __ATOMIC_RELAXED) & ~1u;

	__atomic_store_n(&t->version, version + 1, __ATOMIC_RELAXED);
	atomic_thread_fence(memory_order_release);
	__atomic_store_n(&t->tsc_timestamp, tsc, __ATOMIC_RELAXED);
	__atomic_store_n(&t->system_time, system_time, __ATOMIC_RELAXED);
	__atomic_store_n(&t->tsc_to_system_mul, s.mul, __ATOMIC_RELAXED);
	__atomic_store_n(&t->tsc_shift, s.shift, __ATOMIC_RELAXED);
	__atomic_store_n(&t->flags, XEN_PVCLOCK_TSC_STABLE_BIT, __ATOMIC_RELAXED);
	__atomic_store_n(&t->version, version + 2, __ATOMIC_RELEASE);
}

void time_vcpu_info(vcpu_info_t *vi)
{
	time_info_write(&vi->time, arch_tsc_scale(), arch_tsc_base(), 0);
}

int time_area_write(uint64_t gva)
{
	struct vcpu_time_info t;

	/* The same version steps as in vcpu_info, through the guest's mapping. */
	if (copy_from_guest(&t, gva, sizeof(t)))
		return -XEN_EFAULT;
	t.version |= 1;
	if (copy_to_guest(gva, &t.version, sizeof(t.version)))
		return -XEN_EFAULT;
	atomic_thread_fence(memory_order_release);
	t.pad0 = 0;
	memset(t.pad1, 0, sizeof(t.pad1));
	time_info_write(&t, arch_tsc_scale(), arch_tsc_base(), 0);
	if (copy_to_guest(gva + sizeof(t.version), (char *)&t + sizeof(t.version),
			  sizeof(t) - sizeof(t.version)))
		return -XEN_EFAULT;
	atomic_thread_fence(memory_order_release);
	return copy_to_guest(gva, &t.version, sizeof(t.version)) ? -XEN_EFAULT : 0;
}

void time_wallclock_write(shared_info_t *si, uint64_t epoch_ns)
{
	uint32_t version = si->wc_version & ~1u;

	__atomic_store_n(&si->wc_version, version + 1, __ATOMIC_RELAXED);
	atomic_thread_fence(memory_order_release);
	si->wc_sec = (uint32_t)(epoch_ns / NS_PER_SEC);
	si->wc_sec_hi = (uint32_t)(epoch_ns / NS_PER_SEC >> 32);
	si->wc_nsec = (uint32_t)(epoch_ns % NS_PER_SEC);
	__atomic_store_n(&si->wc_version, version + 2, __ATOMIC_RELEASE);
}
