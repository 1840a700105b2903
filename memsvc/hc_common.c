/* SPDX-License-Identifier: MIT */
/* Arguments that the memory hypercalls share. */
#include "memsvc/hc_common.h"

#include "core/memory_wait.h"

/* Stands for the address that memory is needed for: no guest can fault there. */
#define HYPERCALL_VA 1

int hc_other_owner(domid_t id)
{
	if (id == DOMID_IO || id == DOMID_XEN)
		return -XEN_EPERM;
	if (id == current_vcpu()->domain->id || !domain_by_id(id))
		return -XEN_ESRCH;
	return -XEN_EPERM;
}

/*
 * A vCPU that moves while this runs loads CR3 on its new pCPU, which flushes; one that does not run
 * may still be loaded where it was last, so its home counts as well.
 */
int hc_vcpu_cpus(uint64_t gva, cpumask_t *cpus)
{
	struct domain *d = current_vcpu()->domain;
	uint64_t bits[DIV_ROUND_UP(MAX_VCPUS, 64)] = {0};

	cpumask_zero(cpus);
	if (copy_from_guest(bits, gva, DIV_ROUND_UP(d->max_vcpus, 8)))
		return -XEN_EFAULT;
	for (unsigned i = 0; i < d->max_vcpus; i++)
		if (bits[i / 64] >> (i % 64) & 1 && d->vcpu[i])
			cpumask_set(cpus, atomic_load_explicit(&d->vcpu[i]->unit.home,
							       memory_order_relaxed));
	return 0;
}

long hc_list_continue(struct hc_list *l, size_t size)
{
	hypercall_set_arg(0, l->list + l->i * size);
	hypercall_set_arg(1, (l->left - l->i) | HC_PREEMPTED);
	return hc_list_end(l, -HC_CONTINUE);
}

long hc_wait_slow(void)
{
	struct vcpu *v = current_vcpu();

	/* The domain's own limit, then. */
	if (frames_free_count() > frames_total() / 16)
		return -XEN_ENOMEM;
	memory_wait(v, HYPERCALL_VA);
	return MM_PREEMPTED;
}
