/* SPDX-License-Identifier: MIT */
/* Walks by virtual address: page faults, translation, emulated page-table stores. */
#include "memsvc/pt.h"

#include "core/domain.h"
#include "memsvc/name.h"

#define PFEC_P 0x01u
#define PFEC_W 0x02u
#define PFEC_U 0x04u
#define PFEC_RSVD 0x08u
#define PFEC_I 0x10u

/* Not filled yet, or really absent. */
uint64_t walk_absent(struct mm_ctx *c, struct page_info *pi, unsigned i)
{
	int rc = atomic_load(&pi->hw.gpt[i]) & PTE_P ? sync_table_entry(c, pi, i) : -XEN_EINVAL;

	if (rc) {
		c->nomem |= rc == -XEN_ENOMEM;
		return 0;
	}
	return atomic_load(&hw_entries(pi)[i]);
}

static uint32_t guest_code(uint32_t ec, bool present, bool kernel)
{
	return (ec & (PFEC_W | PFEC_I)) | (present ? PFEC_P : 0) | (kernel ? 0 : PFEC_U);
}

/* Whether the guest's own entries (@rights: of all levels) permit access @ec. */
static bool permitted(uint64_t rights, uint32_t ec)
{
	return !((ec & PFEC_W) && !(rights & PTE_RW)) && !((ec & PFEC_I) && !(rights & PTE_NX));
}

static bool hw_permits(uint64_t hw, uint32_t ec)
{
	return hw & PTE_P && permitted(hw ^ PTE_NX, ec);
}

static bool is_table(struct mm *mm, uint64_t g)
{
	struct gfn_rec *rec = p2m_rec(mm, pte_frame(g));

	return rec && rec_is_table(rec);
}

static enum mm_fault_result leaf_fault(struct mm_ctx *c, struct page_info *pi, unsigned i,
				       uint64_t va, uint64_t rights, uint32_t ec, bool kernel,
				       uint32_t *guest_ec)
{
	CAS_LOOP(loop, "guest's entry, A and D set");

	for (;; retry(&loop)) {
		uint64_t g = atomic_load(&pi->hw.gpt[i]), want;
		bool late;
		int rc;

		*guest_ec = guest_code(ec, g & PTE_P, kernel);
		if (!(g & PTE_P))
			return MM_FAULT_GUEST;
		if (!permitted(rights & (g ^ PTE_NX), ec)) {
			if (kernel && ec & PFEC_W && !(g & PTE_RW) && is_table(c->mm, g))
				return MM_FAULT_PTWRITE;
			return MM_FAULT_GUEST;
		}
		late = hw_permits(atomic_load(&hw_entries(pi)[i]), ec);
		if (!late) {
			/* The hypervisor's own accesses come without U. */
			rc = name_touch(c->mm, pte_frame(g), ec & PFEC_W && !is_table(c->mm, g),
					!(ec & PFEC_U));
			if (unlikely(rc == -XEN_ENOMEM))
				return MM_FAULT_NOMEM;
			if (unlikely(rc == -XEN_EIO)) {
				domain_crash(container_of(c->mm, struct domain, mm),
					     "page %lx cannot be read back from swap",
					     (unsigned long)pte_frame(g));
				return MM_FAULT_RETRY;
			}
			/* A name without a frame: sync finds out. */
		}
		want = g | PTE_A | (ec & PFEC_W ? PTE_D : 0);
		/* Full fence when it changes the entry. PAIRS: pt_sync */
		if (want != g && !atomic_compare_exchange_weak(&pi->hw.gpt[i], &g, want))
			continue;
		if (!late) {
			rc = sync_leaf(c, pi, i);
			if (rc == -XEN_EAGAIN) /* the table just went; walk anew */
				return MM_FAULT_RETRY;
			if (rc == -XEN_EINVAL) { /* a name without a frame */
				*guest_ec |= PFEC_RSVD;
				return MM_FAULT_GUEST;
			}
			if (rc) /* none for its reverse map: it may come back */
				return MM_FAULT_NOMEM;
			if (ec & PFEC_W && is_table(c->mm, want))
				/* Mapped writable before it became a table. */
				return kernel ? MM_FAULT_PTWRITE : MM_FAULT_GUEST;
		}
		arch_tlb_flush_one(va);
		return MM_FAULT_RETRY;
	}
}

enum mm_fault_result mm_fault(struct mm *mm, mfn_t hw_root, uint64_t va, uint32_t ec,
			      bool guest_kernel, uint32_t *guest_ec)
{
	struct mm_ctx c = ctx_begin(mm);
	enum mm_fault_result res = MM_FAULT_GUEST;
	uint64_t rights = ~0ULL;
	struct page_info *pi = pt_walk(&c, hw_root, va, &rights);

	*guest_ec = guest_code(ec, false, guest_kernel);
	if (pi)
		res = leaf_fault(&c, pi, pt_index(va, 1), va, rights, ec, guest_kernel, guest_ec);
	else if (c.nomem)
		res = MM_FAULT_NOMEM;
	ctx_end(&c);
	return res;
}

int mm_translate(struct mm *mm, mfn_t hw_root, uint64_t va, uint64_t *guest_pte)
{
	struct mm_ctx c = ctx_begin(mm);
	uint64_t rights = ~0ULL, g = 0;
	struct page_info *pi = pt_walk(&c, hw_root, va, &rights);

	if (pi)
		g = atomic_load(&pi->hw.gpt[pt_index(va, 1)]);
	ctx_end(&c);
	if (!(g & PTE_P))
		return -XEN_EFAULT;
	*guest_pte = g;
	return 0;
}

/* The live table that @va maps, and the entry's index in it. */
static struct page_info *table_at(struct mm_ctx *c, mfn_t root, uint64_t va, unsigned *i)
{
	uint64_t rights = ~0ULL, g;
	struct page_info *pi = pt_walk(c, root, va, &rights);
	struct gfn_rec *rec;

	if (!pi)
		return NULL;
	g = atomic_load(&pi->hw.gpt[pt_index(va, 1)]);
	rec = g & PTE_P ? p2m_rec(c->mm, pte_frame(g)) : NULL;
	*i = (va & ~PAGE_MASK) / sizeof(uint64_t);
	return rec ? pt_of(rec) : NULL;
}

int mm_pt_read(struct mm *mm, mfn_t hw_root, uint64_t va, uint64_t *val)
{
	struct mm_ctx c = ctx_begin(mm);
	unsigned i;
	struct page_info *t = table_at(&c, hw_root, va, &i);

	if (t)
		*val = atomic_load(&t->hw.gpt[i]);
	ctx_end(&c);
	return t ? 0 : -XEN_EFAULT;
}

int mm_pt_cmpxchg(struct mm *mm, mfn_t hw_root, uint64_t va, uint64_t old, uint64_t new,
		  uint64_t *seen)
{
	struct mm_ctx c = ctx_begin(mm);
	int rc = -XEN_EFAULT;
	unsigned i;
	struct page_info *t = table_at(&c, hw_root, va, &i);

	*seen = old;
	if (t)
		rc = pt_write(&c, t, i, new, 0, seen);
	if (unlikely(c.reap)) {
		ctx_end(&c);
		mm_reap(mm); /* what is long is left to the vCPU's next hypercall */
		return rc;
	}
	ctx_end(&c);
	return rc;
}
