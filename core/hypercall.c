/* SPDX-License-Identifier: MIT */
#include "core/hypercall.h"

#include "core/arch.h"
#include "core/domain.h"

typedef long (*hypercall_fn)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

struct hypercall_entry {
	hypercall_fn fn;
	const char *name;
	bool any_value; /* its result is the guest's own data: never a continuation */
};

/*
 * Each callee declares the arguments it takes; surplus argument registers are harmless in the
 * calling conventions this is built for (System V x86-64).
 */
#define HC(hc) [__HYPERVISOR_##hc] = {(hypercall_fn)(void (*)(void))do_##hc, #hc, false}
#define HC_VALUE(hc) [__HYPERVISOR_##hc] = {(hypercall_fn)(void (*)(void))do_##hc, #hc, true}

static const struct hypercall_entry table[HC_NR] = {
	HC(set_trap_table),
	HC(mmu_update),
	HC(set_gdt),
	HC(stack_switch),
	HC(set_callbacks),
	HC(fpu_taskswitch),
	HC(sched_op_compat),
	HC(platform_op),
	HC(set_debugreg),
	HC_VALUE(get_debugreg),
	HC(update_descriptor),
	HC(memory_op),
	HC(multicall),
	HC(update_va_mapping),
	HC(set_timer_op),
	HC(event_channel_op_compat),
	HC(xen_version),
	HC(console_io),
	HC(physdev_op_compat),
	HC(grant_table_op),
	HC(vm_assist),
	HC(update_va_mapping_otherdomain),
	HC_VALUE(iret),
	HC(vcpu_op),
	HC(set_segment_base),
	HC(mmuext_op),
	HC(nmi_op),
	HC(sched_op),
	HC(callback_op),
	HC(event_channel_op),
	HC(physdev_op),
	HC(sysctl),
	HC(domctl),
	HC(arch_7),
};

static const struct hypercall_entry *lookup(uint64_t nr)
{
	if (nr >= HC_NR || !table[nr].fn)
		return NULL;
	return &table[nr];
}

const char *hypercall_name(unsigned nr)
{
	const struct hypercall_entry *e = lookup(nr);

	return e ? e->name : "?";
}

static long call(struct vcpu *v, uint64_t nr)
{
	const struct hypercall_entry *e = lookup(nr);
	const uint64_t *a = v->hc.args;

	v->cnt.hypercalls++;
	if (unlikely(!e))
		return -XEN_ENOSYS;
	return e->fn(a[0], a[1], a[2], a[3], a[4], a[5]);
}

static bool continues(uint64_t nr, long rc)
{
	return unlikely(rc == -HC_CONTINUE) && !table[nr].any_value;
}

bool hypercall_dispatch(unsigned nr, const uint64_t args[6], long *result)
{
	struct vcpu *v = current_vcpu();

	for (unsigned i = 0; i < 6; i++)
		v->hc.args[i] = args[i];
	*result = call(v, nr);
	if (likely(!continues(nr, *result)))
		return true;
	arch_hypercall_restart(nr, v->hc.args);
	return false;
}

void hypercall_set_arg(unsigned n, uint64_t value)
{
	current_vcpu()->hc.args[n] = value;
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

long do_multicall(uint64_t list, uint64_t nr_calls)
{
	struct vcpu *v = current_vcpu();
	uint64_t left = (uint32_t)nr_calls;
	struct multicall_entry e;

	for (; left; left--, list += sizeof(e)) {
		/* Work that came up meanwhile is served between entries, never inside one. */
		if (left != (uint32_t)nr_calls && preempt_pending())
			return multicall_continue(list, left);
		if (copy_from_guest(&e, list, sizeof(e)))
			return -XEN_EFAULT;
		for (unsigned i = 0; i < 6; i++)
			v->hc.args[i] = e.args[i];
		e.result = (xen_ulong_t)(allowed_in_multicall(e.op) ? call(v, e.op) : -XEN_EINVAL);
		if (continues(e.op, (long)e.result)) {
			/* The entry itself carries its progress; it is read again. */
			if (copy_to_guest(list + offsetof(struct multicall_entry, args), v->hc.args,
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
