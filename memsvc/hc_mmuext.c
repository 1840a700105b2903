/* SPDX-License-Identifier: MIT */
/* mmuext_op; ABI: <xen/xen.h>. */
#include "memsvc/hc_common.h"

static long new_baseptr(struct mm *mm, uint64_t gfn)
{
	mfn_t root;
	gfn_t old;
	int rc;

	/* The one it has, with its reference. */
	if (arch_reload_baseptr(GFN(gfn)))
		return 0;
	rc = mm_base_get(mm, GFN(gfn), &root);
	if (rc)
		return rc;
	old = arch_new_baseptr(GFN(gfn), root);
	if (gfn_valid_value(old))
		mm_base_put(mm, old);
	return 0;
}

static long new_user_baseptr(struct mm *mm, uint64_t gfn)
{
	mfn_t root = INVALID_MFN;
	gfn_t old;
	int rc;

	if (gfn) {
		rc = mm_base_get(mm, GFN(gfn), &root);
		if (rc)
			return rc;
	}
	old = arch_new_user_baseptr(gfn ? GFN(gfn) : INVALID_GFN, root);
	if (gfn_valid_value(old))
		mm_base_put(mm, old);
	return 0;
}

static long flush_multi(struct mm *mm, uint64_t bitmap)
{
	cpumask_t cpus;

	if (hc_vcpu_cpus(bitmap, &cpus))
		return -XEN_EINVAL;
	tlb_shootdown_mask(mm, &cpus);
	return 0;
}

static long copy_page(struct mm *mm, uint64_t dst, const uint64_t *src)
{
	mfn_t d = mm_gfn_get_writable(mm, GFN(dst));
	mfn_t s = src ? mm_gfn_to_mfn(mm, GFN(*src)) : INVALID_MFN;

	if (!mfn_valid_value(d) || (src && !mfn_valid_value(s)))
		return -XEN_EINVAL;
	if (!src)
		memset(arch_mfn_to_virt(d), 0, PAGE_SIZE);
	else if (d.v != s.v)
		memcpy(arch_mfn_to_virt(d), arch_mfn_to_virt(s), PAGE_SIZE);
	return 0;
}

static long ext_one(struct mm *mm, const struct mmuext_op *op)
{
	uint64_t a = op->arg1.mfn;
	uint64_t src = op->arg2.src_mfn;

	switch (op->cmd) {
	case MMUEXT_PIN_L1_TABLE:
	case MMUEXT_PIN_L2_TABLE:
	case MMUEXT_PIN_L3_TABLE:
	case MMUEXT_PIN_L4_TABLE:
		return mm_pin(mm, GFN(a), op->cmd - MMUEXT_PIN_L1_TABLE + 1);
	case MMUEXT_UNPIN_TABLE:
		return mm_unpin(mm, GFN(a));
	case MMUEXT_NEW_BASEPTR:
		return new_baseptr(mm, a);
	case MMUEXT_NEW_USER_BASEPTR:
		return new_user_baseptr(mm, a);
	case MMUEXT_TLB_FLUSH_LOCAL:
		tlb_flush_local();
		return 0;
	case MMUEXT_INVLPG_LOCAL:
		arch_tlb_flush_one(a);
		return 0;
	case MMUEXT_TLB_FLUSH_MULTI:
	case MMUEXT_INVLPG_MULTI:
		return flush_multi(mm, src);
	case MMUEXT_TLB_FLUSH_ALL:
	case MMUEXT_INVLPG_ALL:
		tlb_shootdown_mm(mm);
		return 0;
	case MMUEXT_FLUSH_CACHE: /* for domains with devices only, as in Xen */
		return -XEN_EACCES;
	case MMUEXT_FLUSH_CACHE_GLOBAL:
		return -XEN_EINVAL;
	case MMUEXT_SET_LDT:
		if (a & ~PAGE_MASK || op->arg2.nr_ents > 8192)
			return -XEN_EINVAL;
		return arch_set_ldt(a, op->arg2.nr_ents);
	case MMUEXT_CLEAR_PAGE:
		return copy_page(mm, a, NULL);
	case MMUEXT_COPY_PAGE:
		return copy_page(mm, a, &src);
	case MMUEXT_MARK_SUPER:
	case MMUEXT_UNMARK_SUPER:
		return -XEN_EOPNOTSUPP;
	default:
		return -XEN_ENOSYS;
	}
}

long do_mmuext_op(uint64_t ops, uint64_t count, uint64_t pdone, uint64_t foreigndom)
{
	struct mm *mm = current_mm();
	const struct mm_work *w = hc_work();
	struct mmuext_op op;
	struct hc_list l;
	long rc = hc_pg_owner(foreigndom);

	if (!rc)
		rc = hc_list_begin(&l, ops, count, pdone);
	if (unlikely(rc))
		return rc;
	if (unlikely(hc_reap(mm, w)))
		return hc_list_continue(&l, sizeof(op));
	for (; l.i < l.left; l.i++) {
		if (l.i && preempt_pending()) {
			rc = MM_PREEMPTED;
			break;
		}
		if (copy_from_guest(&op, ops + l.i * sizeof(op), sizeof(op))) {
			rc = -XEN_EFAULT;
			break;
		}
		rc = hc_wait_for_memory(ext_one(mm, &op));
		if (unlikely(rc))
			break;
		/* The pages of dropped tables must be ordinary before the guest goes on. */
		if (unlikely(hc_reap(mm, w))) {
			l.i++;
			rc = MM_PREEMPTED;
			break;
		}
	}
	if (rc == MM_PREEMPTED)
		return hc_list_continue(&l, sizeof(op));
	hc_over(mm, w, rc);
	return hc_list_end(&l, rc);
}
