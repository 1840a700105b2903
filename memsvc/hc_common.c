/* SPDX-License-Identifier: MIT */
/* Arguments that the memory hypercalls share. */
#include "memsvc/hc_common.h"

int hc_pg_owner(uint64_t foreigndom)
{
	domid_t id = (domid_t)foreigndom;

	if (id == DOMID_SELF)
		return 0;
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
	uint64_t bits[DIV_ROUND_UP(MAX_VCPUS, 64)] = { 0 };

	cpumask_zero(cpus);
	if (copy_from_guest(bits, gva, DIV_ROUND_UP(d->max_vcpus, 8)))
		return -XEN_EFAULT;
	for (unsigned i = 0; i < d->max_vcpus; i++)
		if (bits[i / 64] >> (i % 64) & 1 && d->vcpu[i])
			cpumask_set(cpus, atomic_load_explicit(&d->vcpu[i]->unit.home,
							       memory_order_relaxed));
	return 0;
}

int hc_list_begin(struct hc_list *l, uint64_t list, uint64_t count, uint64_t pdone)
{
	*l = (struct hc_list){ .list = list, .left = (uint32_t)count, .pdone = pdone };
	if (unlikely(l->left & HC_PREEMPTED)) {
		l->left &= ~HC_PREEMPTED;
		if (pdone && copy_from_guest(&l->done, pdone, sizeof(l->done)))
			return -XEN_EFAULT;
	}
	return 0;
}

long hc_list_end(struct hc_list *l, long rc)
{
	uint32_t done = l->done + l->i;

	if (l->pdone && copy_to_guest(l->pdone, &done, sizeof(done)))
		return -XEN_EFAULT;
	return rc;
}

long hc_list_continue(struct hc_list *l, size_t size)
{
	hypercall_set_arg(0, l->list + l->i * size);
	hypercall_set_arg(1, (l->left - l->i) | HC_PREEMPTED);
	return hc_list_end(l, -HC_CONTINUE);
}
