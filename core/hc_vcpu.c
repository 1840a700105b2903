/* SPDX-License-Identifier: MIT */
/* HYPERVISOR_vcpu_op (ABI: <xen/vcpu.h>). */

#include "core/arch.h"
#include "core/domain.h"
#include "core/time.h"
#include "core/vcpu_area.h"
#include "core/vcpu_timer.h"

#include <xen/vcpu.h>

static long op_initialise(struct vcpu *v, uint64_t arg)
{
	int rc;

	if (!atomic_load(&v->info))
		return -XEN_EINVAL; /* no place for its events: register_vcpu_info comes first */
	if (atomic_exchange(&v->init_claimed, true))
		return -XEN_EEXIST;
	rc = arch_vcpu_set_context(v, arg);
	if (rc) {
		atomic_store(&v->init_claimed, false);
		return rc;
	}
	atomic_store(&v->initialised, true);
	return 0;
}

/*
 * Invariant: up_vcpus is the number of vCPUs with is_up and of ups under way, which count first: who
 * finds it 0 knows that none is up, however many turn one vCPU on and off at once.
 */
static void one_up_less(struct domain *d)
{
	if (atomic_fetch_sub(&d->up_vcpus, 1) == 1)
		domain_end(d, END_OFF, "its last vCPU went down");
}

static long op_up(struct vcpu *v)
{
	if (!atomic_load(&v->initialised))
		return -XEN_EINVAL;
	if (atomic_load(&v->is_up))
		return 0;
	atomic_fetch_add(&v->domain->up_vcpus, 1);
	if (atomic_exchange(&v->is_up, true))
		one_up_less(v->domain);
	else
		vcpu_run(v);
	return 0;
}

/*
 * One that runs elsewhere is told by message; one that is queued or blocked parks itself when it
 * is next switched in.
 */
static long op_down(struct vcpu *v)
{
	if (!atomic_exchange(&v->is_up, false))
		return 0;
	one_up_less(v->domain);
	if (v == current_vcpu())
		sched_park_current();
	else
		vcpu_ctl_post(v);
	return 0;
}

static long op_get_runstate(struct vcpu *v, uint64_t arg)
{
	struct sched_runstate rs = sched_runstate(&v->unit, arch_now_ns());
	struct vcpu_runstate_info info = {.state = rs.state, .state_entry_time = rs.entry_ns};

	for (unsigned i = 0; i < 4; i++)
		info.time[i] = rs.time[i];
	return copy_to_guest(arg, &info, sizeof(info)) ? -XEN_EFAULT : 0;
}

static long op_register_runstate(struct vcpu *v, uint64_t arg)
{
	struct vcpu_register_runstate_memory_area area;
	struct sched_runstate rs;

	if (copy_from_guest(&area, arg, sizeof(area)))
		return -XEN_EFAULT;
	atomic_store(&v->runstate_gva, area.addr.p);
	if (!area.addr.p)
		return 0;
	rs = sched_runstate(&v->unit, arch_now_ns());
	/* As in Xen, an address that cannot be written now is no error: it may become mapped. */
	vcpu_runstate_write(v->domain, &rs, area.addr.p);
	return 0;
}

static long op_register_time(uint64_t arg)
{
	struct vcpu_register_time_memory_area area;

	if (copy_from_guest(&area, arg, sizeof(area)))
		return -XEN_EFAULT;
	/* The parameters never change, so the one write at registration is the last. */
	return area.addr.p ? time_area_write(area.addr.p) : 0;
}

static long op_register_info(struct vcpu *v, uint64_t arg)
{
	struct vcpu_register_vcpu_info r;
	vcpu_info_t *vi;
	mfn_t mfn;

	if (copy_from_guest(&r, arg, sizeof(r)))
		return -XEN_EFAULT;
	if (r.offset > PAGE_SIZE - sizeof(vcpu_info_t) || r.offset % sizeof(uint64_t))
		return -XEN_ENXIO;
	/* Of oneself, or of one that does not run. */
	if (v != current_vcpu() && atomic_load(&v->is_up))
		return -XEN_EINVAL;
	if (atomic_exchange(&v->info_claimed, true))
		return -XEN_EINVAL;
	mfn = mm_gfn_pin_special(&v->domain->mm, GFN(r.mfn));
	if (!mfn_valid_value(mfn)) {
		atomic_store(&v->info_claimed, false);
		return -XEN_EINVAL;
	}
	vi = (vcpu_info_t *)((char *)arch_mfn_to_virt(mfn) + r.offset);
	v->info_gfn = GFN(r.mfn);
	evtchn_vcpu_info_moved(v, vi);
	time_vcpu_info(vi);
	return 0;
}

static long op_set_periodic(struct vcpu *v, uint64_t arg)
{
	struct vcpu_set_periodic_timer t;

	if (copy_from_guest(&t, arg, sizeof(t)))
		return -XEN_EFAULT;
	if (t.period_ns < VCPU_TIMER_MIN_PERIOD_NS || t.period_ns >> 60)
		return -XEN_EINVAL;
	vcpu_timer_set_period(v, t.period_ns);
	return 0;
}

static long op_set_singleshot(struct vcpu *v, uint64_t arg)
{
	struct vcpu_set_singleshot_timer t;

	if (v != current_vcpu())
		return -XEN_EINVAL;
	if (copy_from_guest(&t, arg, sizeof(t)))
		return -XEN_EFAULT;
	if (t.flags & VCPU_SSHOTTMR_future && t.timeout_abs_ns < arch_now_ns())
		return -XEN_ETIME;
	/* Unlike in set_timer_op, 0 is a time like any other: long past. */
	vcpu_timer_set(v, MAX(t.timeout_abs_ns, 1));
	return 0;
}

long do_vcpu_op(uint64_t cmd, uint64_t vcpuid, uint64_t arg)
{
	struct domain *d = current_vcpu()->domain;
	struct vcpu *v;

	if ((uint32_t)vcpuid >= d->max_vcpus)
		return -XEN_ENOENT;
	v = d->vcpu[(uint32_t)vcpuid];
	switch ((uint32_t)cmd) {
	case VCPUOP_initialise:
		return op_initialise(v, arg);
	case VCPUOP_up:
		return op_up(v);
	case VCPUOP_down:
		return op_down(v);
	case VCPUOP_is_up:
		return atomic_load(&v->is_up);
	case VCPUOP_get_runstate_info:
		return op_get_runstate(v, arg);
	case VCPUOP_register_runstate_memory_area:
		return op_register_runstate(v, arg);
	case VCPUOP_set_periodic_timer:
		return op_set_periodic(v, arg);
	case VCPUOP_stop_periodic_timer:
		vcpu_timer_set_period(v, 0);
		return 0;
	case VCPUOP_set_singleshot_timer:
		return op_set_singleshot(v, arg);
	case VCPUOP_stop_singleshot_timer:
		if (v != current_vcpu())
			return -XEN_EINVAL;
		vcpu_timer_set(v, 0);
		return 0;
	case VCPUOP_register_vcpu_info:
		return op_register_info(v, arg);
	case VCPUOP_register_vcpu_time_memory_area:
		return op_register_time(arg);
	case VCPUOP_send_nmi:
		return arch_vcpu_send_nmi(v);
	case VCPUOP_get_physid:
		return -XEN_EINVAL; /* only for vCPUs pinned for driving hardware */
	default:
		return -XEN_ENOSYS;
	}
}
