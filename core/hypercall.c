/* SPDX-License-Identifier: MIT */
#include "core/hypercall.h"

#include "core/arch.h"
#include "core/domain.h"
#include "core/lib.h"

/* clang-format off */
#define ALL_HYPERCALLS(HC) \
	HC(set_trap_table) HC(mmu_update) HC(set_gdt) HC(stack_switch) \
	HC(set_callbacks) HC(fpu_taskswitch) HC(sched_op_compat) HC(platform_op) \
	HC(set_debugreg) HC(get_debugreg) HC(update_descriptor) HC(memory_op) \
	HC(multicall) HC(update_va_mapping) HC(set_timer_op) \
	HC(event_channel_op_compat) HC(xen_version) HC(console_io) \
	HC(physdev_op_compat) HC(grant_table_op) HC(vm_assist) \
	HC(update_va_mapping_otherdomain) HC(iret) HC(vcpu_op) HC(set_segment_base) \
	HC(mmuext_op) HC(nmi_op) HC(sched_op) HC(callback_op) HC(event_channel_op) \
	HC(physdev_op) HC(sysctl) HC(domctl) HC(arch_7)
/* clang-format on */

/*
 * Each callee declares the arguments it takes; surplus argument registers are harmless in the
 * calling conventions this is built for (System V x86-64).
 */
#define FN(f) ((hypercall_fn)(void (*)(void))(f))
#define HC(hc) [__HYPERVISOR_##hc] = FN(do_##hc),

const hypercall_fn hypercall_fns[HC_NR] = {ALL_HYPERCALLS(HC)};

#undef HC
#define HC(hc) [__HYPERVISOR_##hc] = #hc,

static const char *const names[HC_NR] = {ALL_HYPERCALLS(HC)};

const char *hypercall_name(unsigned nr)
{
	return nr < HC_NR && names[nr] ? names[nr] : "?";
}

static long call(struct vcpu *v, uint64_t nr, const uint64_t a[6])
{
	v->cnt.hypercalls++;
	if (unlikely(nr >= HC_NR || !hypercall_fns[nr]))
		return -XEN_ENOSYS;
	return hypercall_fns[nr](a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* The result of these two is the guest's own data: never a continuation. */
static bool any_value(uint64_t nr)
{
	return nr == __HYPERVISOR_get_debugreg || nr == __HYPERVISOR_iret;
}

bool hypercall_continues(uint64_t nr, long rc, uint64_t args[6])
{
	struct hypercall_state *hc = &current_vcpu()->hc;

	if (likely(rc != -HC_CONTINUE) || any_value(nr))
		return false;
	for (unsigned i = 0; i < 6; i++)
		if (hc->changed & 1u << i)
			args[i] = hc->args[i];
	hc->changed = 0;
	return true;
}

bool hypercall_dispatch(unsigned nr, const uint64_t args[6], long *result)
{
	uint64_t a[6];

	*result = call(current_vcpu(), nr, args);
	if (likely(*result != -HC_CONTINUE))
		return true;
	memcpy(a, args, sizeof(a));
	if (!hypercall_continues(nr, *result, a))
		return true;
	arch_hypercall_restart(nr, a);
	return false;
}

void hypercall_set_arg(unsigned n, uint64_t value)
{
	struct hypercall_state *hc = &current_vcpu()->hc;

	hc->args[n] = value;
	hc->changed |= 1u << n;
}

/* iret replaces the frame the multicall returns to, so it has no meaning inside. */
static bool allowed_in_multicall(uint64_t nr)
{
	return nr != __HYPERVISOR_multicall && nr != __HYPERVISOR_iret;
}

/* Continue the multicall of the current vCPU at the entry at @list. */
static long multicall_continue(uint64_t list, uint64_t left)
{
	hypercall_set_arg(0, list);
	hypercall_set_arg(1, left);
	return -HC_CONTINUE;
}

#define CLOCK_EVERY 8 /* entries between two looks at the clock */

long do_multicall(uint64_t list, uint64_t nr_calls)
{
	struct vcpu *v = current_vcpu();
	uint64_t left = (uint32_t)nr_calls;
	struct multicall_entry e;

	for (; left; left--, list += sizeof(e)) {
		/* Work that came up meanwhile is served between entries, never inside one. */
		if (left != (uint32_t)nr_calls &&
		    (left % CLOCK_EVERY ? preempt_asked() : preempt_pending()))
			return multicall_continue(list, left);
		if (copy_from_guest(&e, list, sizeof(e)))
			return -XEN_EFAULT;
		e.result = (xen_ulong_t)(allowed_in_multicall(e.op) ? call(v, e.op, e.args)
								    : -XEN_EINVAL);
		if (unlikely((long)e.result == -HC_CONTINUE) &&
		    hypercall_continues(e.op, (long)e.result, e.args)) {
			/* The entry itself carries its progress; it is read again. */
			if (copy_to_guest(list + offsetof(struct multicall_entry, args), e.args,
					  sizeof(e.args)))
				return -XEN_EFAULT;
			return multicall_continue(list, left);
		}
		if (copy_to_guest(list + offsetof(struct multicall_entry, result), &e.result,
				  sizeof(e.result)))
			return -XEN_EFAULT;
	}
	return 0;
}
