/* SPDX-License-Identifier: MIT */
/* mmu_update and update_va_mapping; ABI: <xen/xen.h>. */
#include "memsvc/hc_common.h"

#define REQ_BATCH 8 /* requests between two looks at what waits for this pCPU */

/* @ptr names an 8-byte word of one of the guest's pages: a live table, or plain memory. */
static int update_word(struct mm_ctx *c, uint64_t ptr, uint64_t val, uint64_t keep)
{
	struct gfn_rec *rec = p2m_rec(c->mm, ptr >> PAGE_SHIFT);
	unsigned i = (ptr & ~PAGE_MASK) / sizeof(uint64_t);
	struct page_info *pi = likely(rec) ? pt_of(rec) : NULL;
	mfn_t m;

	if (likely(pi))
		return pt_write(c, pi, i, val, keep, NULL);
	m = mm_gfn_get_writable(c->mm, GFN(ptr >> PAGE_SHIFT));
	if (!mfn_valid_value(m))
		return -XEN_EINVAL;
	atomic_store_explicit(&((_Atomic uint64_t *)arch_mfn_to_virt(m))[i], val,
			      memory_order_relaxed);
	return 0;
}

/* The shared table is the identity: saying so again is fine, changing it is not. */
static int update_m2p(struct mm *mm, uint64_t ptr, uint64_t val)
{
	uint64_t name = ptr >> PAGE_SHIFT;

	if (!mm_gfn_exists(mm, GFN(name)) || val != name)
		return -XEN_EINVAL;
	return 0;
}

static inline int update_one(struct mm_ctx *c, const struct mmu_update *r)
{
	uint64_t ptr = r->ptr & ~7ULL;

	switch (r->ptr & 7) {
	case MMU_NORMAL_PT_UPDATE:
	case MMU_PT_UPDATE_NO_TRANSLATE: /* nothing is auto-translated here */
	case MMU_PT_UPDATE_PRESERVE_AD:
		return update_word(c, ptr, r->val,
				   (r->ptr & 7) == MMU_PT_UPDATE_PRESERVE_AD ? PTE_A | PTE_D : 0);
	case MMU_MACHPHYS_UPDATE:
		return update_m2p(c->mm, ptr, r->val);
	default:
		return -XEN_ENOSYS;
	}
}

long do_mmu_update(uint64_t reqs, uint64_t count, uint64_t pdone, uint64_t foreigndom)
{
	struct mm_ctx c = ctx_begin(current_mm());
	const struct mm_work *w = hc_work();
	struct mmu_update req;
	struct hc_list l;
	long rc;

	if (unlikely((uint32_t)foreigndom != DOMID_SELF)) {
		if ((uint32_t)foreigndom >> 16 && (uint32_t)(foreigndom >> 16) - 1 != DOMID_SELF)
			return -XEN_EPERM; /* another domain's page tables */
		rc = hc_pg_owner(foreigndom);
		if (rc)
			return rc;
	}
	rc = hc_list_begin(&l, reqs, count, pdone);
	if (unlikely(rc))
		return rc;
	if (unlikely(hc_reap(c.mm, w)))
		return hc_list_continue(&l, sizeof(req));
	for (; l.i < l.left; l.i++) {
		if (unlikely(l.i && l.i % REQ_BATCH == 0) && preempt_pending()) {
			rc = MM_PREEMPTED;
			break;
		}
		if (unlikely(copy_from_guest(&req, reqs + l.i * sizeof(req), sizeof(req)))) {
			rc = -XEN_EFAULT;
			break;
		}
		rc = hc_wait_for_memory(update_one(&c, &req));
		if (unlikely(rc))
			break;
		if (unlikely(c.reap)) {
			ctx_end(&c);
			c = ctx_begin(c.mm);
			if (mm_reap(c.mm)) {
				l.i++;
				rc = MM_PREEMPTED;
				break;
			}
		}
	}
	ctx_end(&c);
	if (rc == MM_PREEMPTED)
		return hc_list_continue(&l, sizeof(req));
	hc_over(c.mm, w, rc);
	return hc_list_end(&l, rc);
}

/* The flush that update_va_mapping's flags ask for. */
static long flush(struct mm *mm, uint64_t va, uint64_t flags)
{
	uint64_t target = flags & ~UVMF_FLUSHTYPE_MASK;
	cpumask_t cpus;

	switch (flags & UVMF_FLUSHTYPE_MASK) {
	case UVMF_NONE:
		return 0;
	case UVMF_TLB_FLUSH:
	case UVMF_INVLPG:
		break;
	default:
		return 0;
	}
	if (target == UVMF_LOCAL) {
		if ((flags & UVMF_FLUSHTYPE_MASK) == UVMF_INVLPG)
			arch_tlb_flush_one(va);
		else
			tlb_flush_local();
		return 0;
	}
	if (target == UVMF_ALL) {
		tlb_shootdown_mm(mm);
		return 0;
	}
	if (hc_vcpu_cpus(target, &cpus))
		return -XEN_EFAULT;
	tlb_shootdown_mask(mm, &cpus);
	return 0;
}

long do_update_va_mapping(uint64_t va, uint64_t val, uint64_t flags)
{
	struct mm_ctx c = ctx_begin(current_mm());
	uint64_t rights = ~0ULL;
	struct page_info *pi;
	long rc = -XEN_EINVAL, frc;

	pi = pt_walk(&c, arch_root(&current_vcpu()->arch), va, &rights);
	if (likely(pi))
		rc = pt_write(&c, pi, pt_index(va, 1), val, 0, NULL);
	else if (c.nomem)
		rc = hc_wait_for_memory(-XEN_ENOMEM);
	ctx_end(&c);
	if (unlikely(rc == MM_PREEMPTED))
		return -HC_CONTINUE;
	frc = flush(c.mm, va, flags);
	return rc ? rc : frc;
}

long do_update_va_mapping_otherdomain(uint64_t va, uint64_t val, uint64_t flags, uint64_t domid)
{
	int rc = hc_pg_owner(domid);

	return rc ? rc : do_update_va_mapping(va, val, flags);
}
