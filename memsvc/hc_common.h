/* SPDX-License-Identifier: MIT */
/* Shared by the memory hypercalls. */
#ifndef MEMSVC_HC_COMMON_H
#define MEMSVC_HC_COMMON_H

#include "core/domain.h"
#include "core/hypercall.h"
#include "memsvc/pt.h"

static inline struct mm *current_mm(void)
{
	return &current_vcpu()->domain->mm;
}

/** hc_work() - where the current vCPU keeps what it left to do. */
static inline const struct mm_work *hc_work(void)
{
	return &current_vcpu()->mm_work;
}

/** hc_reap() - finish what the vCPU left behind, as @w has it. 0 or MM_PREEMPTED. */
static inline int hc_reap(struct mm *mm, const struct mm_work *w)
{
	return likely(!w->reap) ? 0 : mm_reap(mm);
}

/** hc_over() - the hypercall ends with @rc and will not be continued. */
static inline void hc_over(struct mm *mm, const struct mm_work *w, long rc)
{
	/* A table under construction that was then not wanted, when another vCPU interfered. */
	if (unlikely(w->wip))
		mm_wip_drop(mm);
	else if (likely(!rc))
		return;
	mm_reap(mm); /* what was refused or dropped; the rest later if it is long */
}

/**
 * hc_wait_for_memory() - with the result @rc of a step: when the host has no memory for it now, the
 * vCPU is put to sleep and MM_PREEMPTED returned, as if the step were to be continued; else @rc. A
 * guest must not see -XEN_ENOMEM for what it would get a moment later: Linux takes it for a bug.
 */
long hc_wait_slow(void);
static inline long hc_wait_for_memory(long rc)
{
	return likely(rc != -XEN_ENOMEM) ? rc : hc_wait_slow();
}

/** hc_pg_owner() - the FOREIGNDOM argument: 0 for one's own domain; -XEN_ESRCH when there is no
 * such domain (or it is oneself by number, as in Xen), -XEN_EPERM for any other. */
int hc_other_owner(domid_t id);
static inline int hc_pg_owner(uint64_t foreigndom)
{
	return likely((domid_t)foreigndom == DOMID_SELF) ? 0 : hc_other_owner((domid_t)foreigndom);
}

/** hc_vcpu_cpus() - pCPUs on which the vCPUs of the guest's bitmap @gva are. 0 or -XEN_EFAULT. */
int hc_vcpu_cpus(uint64_t gva, cpumask_t *cpus);

/* A list operation in progress, in Xen's form: count, its top bit set when it was preempted before,
 * and *pdone counting across continuations. */
struct hc_list {
	uint64_t list;	/* guest address of the next entry */
	uint32_t left;	/* entries to do */
	uint32_t done;	/* entries done before this call */
	uint64_t pdone; /* guest address or 0 */
	uint32_t i;	/* entries done in this call */
};

#define HC_PREEMPTED 0x80000000u

/** hc_list_begin() - 0 or -XEN_EFAULT. */
static inline int hc_list_begin(struct hc_list *l, uint64_t list, uint64_t count, uint64_t pdone)
{
	*l = (struct hc_list){.list = list, .left = (uint32_t)count, .pdone = pdone};
	if (likely(!(l->left & HC_PREEMPTED)))
		return 0;
	l->left &= ~HC_PREEMPTED;
	return pdone && copy_from_guest(&l->done, pdone, sizeof(l->done)) ? -XEN_EFAULT : 0;
}

/** hc_list_end() - store the count done; returns @rc or -XEN_EFAULT. */
static inline long hc_list_end(struct hc_list *l, long rc)
{
	uint32_t done = l->done + l->i;

	return l->pdone && copy_to_guest(l->pdone, &done, sizeof(done)) ? -XEN_EFAULT : rc;
}
/** hc_list_continue() - the same, and continue with the entry at index i. @size: of an entry. */
long hc_list_continue(struct hc_list *l, size_t size);

#endif
