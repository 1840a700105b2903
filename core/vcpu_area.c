/* SPDX-License-Identifier: MIT */
/* The runstate area a guest registered, written whenever its vCPU changes between states. */

#include "core/arch.h"
#include "core/domain.h"
#include "core/vcpu_area.h"

#include <xen/vcpu.h>

int vcpu_runstate_write(const struct domain *d, const struct sched_runstate *rs, uint64_t gva)
{
	struct vcpu_runstate_info info = {.state = rs->state, .state_entry_time = rs->entry_ns};
	const uint64_t flag_at = gva + offsetof(struct vcpu_runstate_info, state_entry_time) + 7;
	bool flagged = atomic_load_explicit(&d->vm_assist, memory_order_relaxed) &
		       1UL << VMASST_TYPE_runstate_update_flag;
	uint8_t top;

	for (unsigned i = 0; i < 4; i++)
		info.time[i] = rs->time[i];
	if (!flagged)
		return copy_to_guest(gva, &info, sizeof(info)) ? -XEN_EFAULT : 0;
	/*
	 * XEN_RUNSTATE_UPDATE is set before anything changes and cleared last: a reader on another
	 * vCPU that sees it, or sees state_entry_time change, reads again.
	 */
	info.state_entry_time |= XEN_RUNSTATE_UPDATE;
	top = (uint8_t)(info.state_entry_time >> 56);
	if (copy_to_guest(flag_at, &top, 1))
		return -XEN_EFAULT;
	atomic_thread_fence(memory_order_release);
	if (copy_to_guest(gva, &info, sizeof(info)))
		return -XEN_EFAULT;
	atomic_thread_fence(memory_order_release);
	top &= 0x7f;
	return copy_to_guest(flag_at, &top, 1) ? -XEN_EFAULT : 0;
}

/* The address is the guest kernel's; its user address spaces need not have it. */
static void write_own(struct vcpu *v, bool stays)
{
	uint64_t gva = atomic_load_explicit(&v->runstate_gva, memory_order_relaxed);

	if (!gva)
		return;
	arch_kernel_space(v, true);
	/* A guest that unmapped its area gets no updates; that is its own affair. */
	vcpu_runstate_write(v->domain, &v->unit.rs, gva);
	if (stays)
		arch_kernel_space(v, false);
}

void vcpu_switched_out(struct vcpu *v)
{
	if (!vcpu_must_stop(v))
		write_own(v, false);
}

void vcpu_switched_in(struct vcpu *v)
{
	/* A period set before it ever ran. */
	if (unlikely(atomic_load_explicit(&v->periodic_ns, memory_order_relaxed)) &&
	    !timer_armed(&v->periodic))
		vcpu_timer_apply_period(v);
	if (unlikely(!atomic_load_explicit(&v->is_up, memory_order_relaxed)))
		sched_park_current();
	write_own(v, true);
}
