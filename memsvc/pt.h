/* SPDX-License-Identifier: MIT */
/*
 * Hardware tables: their life, and keeping each entry equal to translate(guest entry, P2M).
 *
 * One hardware table of the same level for each guest table, found through the pt word of the
 * guest table's name; refs = pin + parents' hardware entries + base pointers. Data pages have no
 * counts. At 0 the table is detached (the pt word becomes 0, for ever for this frame), then
 * swept: children lose a reference, leaves leave the rmap; then it is retired.
 *
 * Convergence of one entry, any number of vCPUs at once:
 *   writer: exchange the guest entry (full fence); sync
 *   sync:   read the guest entry; translate; exchange the hardware entry (full fence);
 *           read the guest entry again; if it changed, once more          (PAIRS: pt_sync)
 * The hardware entry's exchanges are totally ordered. The writer whose exchange comes last reads a
 * guest entry at least as new as all before it, so at rest the hardware entry is the translation of
 * the newest one. Whoever exchanges a value out retracts its rmap slot or child reference: once.
 * A table detached meanwhile is noticed by the same second look (live()), or the sweep, which
 * exchanges every entry after the detach, finds the entry.              (PAIRS: pt_detach)
 * A sync that installed a leaf of a frame whose word had changed asks for a flush before it leaves
 * its RCU section: the changer's own flush may have been earlier.
 *
 * A hardware entry may always be less than what the guest's entry permits (absent or read-only):
 * mm_fault() repairs it. So a table may be linked before it is filled, and a read-only mapping of
 * what no longer is a page table needs no search.
 */
#ifndef MEMSVC_PT_H
#define MEMSVC_PT_H

#include "core/lib.h"
#include "core/xen_errno.h"
#include "memsvc/p2m.h"
#include "memsvc/rmap.h"
#include "percpu/pcpu.h"

/* hw.lin_base when it is not the first name of a block: no name + index is ever equal to these. */
#define LIN_NONE (1ULL << 62)
#define LIN_CLAIMED (1ULL << 63)

/* One operation of one vCPU; lives on the stack. */
struct mm_ctx {
	struct mm *mm;
	uint64_t reap; /* mfn list of detached tables to sweep, 0: none */
	bool flush;    /* a stale leaf was visible: flush the mm before leaving */
	bool nomem;    /* a walk ended where memory for a table was missing */
	uint32_t made; /* mfn of a hardware table whose PT_RW goes with the flush; 0: none */
};

static inline struct mm_ctx ctx_begin(struct mm *mm)
{
	return (struct mm_ctx){.mm = mm};
}

/** ctx_work() - where the current vCPU's preempted work is kept. */
struct mm_work *ctx_work(struct mm *mm);

/** ctx_end() - flush if needed; keep unswept tables for mm_reap(). */
void ctx_end_slow(struct mm_ctx *c);
static inline void ctx_end(struct mm_ctx *c)
{
	if (unlikely(c->flush || c->reap))
		ctx_end_slow(c);
}

static inline _Atomic uint64_t *hw_entries(const struct page_info *pi)
{
	return arch_mfn_to_virt(mfn_of(pi));
}

/** any8() - the OR of eight entries: most tables are mostly empty. */
static inline uint64_t any8(const _Atomic uint64_t *e)
{
#define E(i) atomic_load_explicit(&e[i], memory_order_relaxed)
	return E(0) | E(1) | E(2) | E(3) | E(4) | E(5) | E(6) | E(7);
#undef E
}

/** pt_live() - whether @pi still is the hardware table of its guest table. */
static inline bool pt_live(const struct page_info *pi)
{
	return page_of(PT_HW(atomic_load_explicit(&pi->hw.rec->pt, memory_order_acquire))) == pi;
}

/** pt_of() - the live hardware table of a guest table's name, or NULL. */
static inline struct page_info *pt_of(const struct gfn_rec *rec)
{
	uint64_t pt = atomic_load_explicit(&rec->pt, memory_order_acquire);

	return pt_is_table(pt) ? page_of(PT_HW(pt)) : NULL;
}

/**
 * may_have_table() - whether the domain may have one more table or page of rmap nodes. They cost
 * the host a frame each, at the guest's wish: a domain may use more of them than an eighth of its
 * memory only while the host has plenty, so that the others always find theirs.
 */
bool may_have_table(struct mm *mm);

/**
 * table_get() - a reference to the hardware table of name @gfn, made (empty) if there is none.
 * 0, -XEN_EINVAL (no frame, other level, mapped writable), -XEN_ENOMEM.
 */
int table_get(struct mm_ctx *c, uint64_t gfn, unsigned level, struct page_info **out);

/** table_put() - drop one; a table without references goes to c->reap. */
void table_put(struct mm_ctx *c, struct page_info *pi);

/** table_fill() - bring all entries in step, children included. 0, MM_PREEMPTED, or the errno of
 * the first bad entry. */
int table_fill(struct mm_ctx *c, struct page_info *pi);

/** table_get_filled() - table_get() and table_fill(). When preempted, what was done is kept until
 * the vCPU's next call of this. */
int table_get_filled(struct mm_ctx *c, uint64_t gfn, unsigned level, struct page_info **pi);

/** mm_wip_drop() - let go what a preempted table_get_filled() kept: its operation is over. */
void mm_wip_drop(struct mm *mm);

/** table_sweep() - empty a detached table and retire it. */
void table_sweep(struct mm_ctx *c, struct page_info *pi);

/** sync_leaf() - bring entry @i of an L1 in step with the guest's; returns 0, -XEN_EINVAL when the
 * guest's names no frame, -XEN_ENOMEM, -XEN_EAGAIN when the table is no longer live. */
int sync_leaf(struct mm_ctx *c, struct page_info *pi, unsigned i);

/** sync_fill_l1() - all entries of an L1: 0, or the errno of the first bad one. */
int sync_fill_l1(struct mm_ctx *c, struct page_info *pi);

/** table_clear_l1() - exchange every entry out. */
void table_clear_l1(struct page_info *pi);

/** table_forget_linear() - a detached L1 is no longer its block's linear table. */
void table_forget_linear(struct page_info *pi);

/** sync_table_entry() - the same for levels 2 to 4; a new child is empty, mm_fault() or
 * table_fill() fills it. */
int sync_table_entry(struct mm_ctx *c, struct page_info *pi, unsigned i);

static inline int sync_entry(struct mm_ctx *c, struct page_info *pi, unsigned i)
{
	return pi->hw.level == 1 ? sync_leaf(c, pi, i) : sync_table_entry(c, pi, i);
}

/** may_be_writable() - whether writable leaves of a name may be entered: it is no page table, and has
 * PT_RW now. */
bool writable_first(struct gfn_rec *rec);
static inline bool may_be_writable(struct gfn_rec *rec)
{
	uint64_t pt = atomic_load(&rec->pt);

	return likely(pt == PT_RW) || (!pt && writable_first(rec));
}

/** leaf_check() - whether a guest may enter leaf @g: 0, -XEN_EINVAL, -XEN_EBUSY (a live page table
 * writable). *@rec: the record, NULL when @g is not present or its name was never touched; *@word:
 * its word, 0 without one. */
static inline int leaf_check(struct mm *mm, uint64_t g, struct gfn_rec **rec, uint64_t *word)
{
	struct gfn_rec *r;

	*rec = NULL;
	*word = 0;
	if (!(g & PTE_P))
		return 0;
	*rec = r = p2m_rec(mm, pte_frame(g));
	if (unlikely(!r))
		return pte_frame(g) < mm->promised ? 0 : -XEN_EINVAL;
	*word = atomic_load_explicit(&r->word, memory_order_acquire);
	if (unlikely(!(*word & P2M_VALID)) && !p2m_promised(mm, pte_frame(g), *word))
		return -XEN_EINVAL;
	if (g & PTE_RW && unlikely(!may_be_writable(r)))
		return -XEN_EBUSY;
	return 0;
}

uint64_t guest_write_keep(_Atomic uint64_t *gp, uint64_t val, uint64_t keep);

/**
 * guest_write() - write *@val to the guest's entry, a full fence: but for the bits @keep, which stay
 * and go to *@val; with @seen only if it is *@seen, which becomes what it was. False: it was not.
 */
static inline bool guest_write(_Atomic uint64_t *gp, uint64_t *val, uint64_t keep, uint64_t *seen)
{
	/* PAIRS: pt_sync */
	if (seen)
		return atomic_compare_exchange_strong(gp, seen, *val);
	if (unlikely(keep))
		*val = guest_write_keep(gp, *val, keep);
	else
		atomic_exchange(gp, *val);
	return true;
}

/** leaf_write() - guest_write() to entry @i of the guest table behind L1 @pi, checked, and sync. 0
 * (also when the entry was not *@seen) or an errno. */
int leaf_write(struct mm_ctx *c, struct page_info *pi, unsigned i, uint64_t val, uint64_t keep,
	       uint64_t *seen);

/** table_write() - the same for levels 2 to 4. Also MM_PREEMPTED: nothing written. */
int table_write(struct mm_ctx *c, struct page_info *pi, unsigned i, uint64_t val, uint64_t keep,
		uint64_t *seen);

/** pt_write() - the one of the two that it takes. */
static inline int pt_write(struct mm_ctx *c, struct page_info *pi, unsigned i, uint64_t val,
			   uint64_t keep, uint64_t *seen)
{
	return likely(pi->hw.level == 1) ? leaf_write(c, pi, i, val, keep, seen)
					 : table_write(c, pi, i, val, keep, seen);
}

/** walk_absent() - for pt_walk(): the hardware entry, which was absent, after syncing it; or 0. */
uint64_t walk_absent(struct mm_ctx *c, struct page_info *pi, unsigned i);

/* One level of pt_walk(): from the hardware entry for the table, @hw, to that for the next. */
static inline __attribute__((always_inline)) uint64_t
walk_step(struct mm_ctx *c, uint64_t hw, uint64_t va, unsigned level, uint64_t *rights)
{
	mfn_t m = MFN(pte_frame(hw));
	unsigned i = pt_index(va, level);
	uint64_t next = atomic_load_explicit(&((_Atomic uint64_t *)arch_mfn_to_virt(m))[i],
					     memory_order_acquire);

	if (unlikely(!(next & PTE_P)))
		next = walk_absent(c, page_of(m), i);
	/* Hardware entries carry the guest's RW and NX. */
	*rights &= next ^ PTE_NX;
	return next;
}

/** pt_walk() - the L1 on the way to @va under @root; missing entries are synced on the way. NULL
 * when the guest's tables end before. *@rights: in, all ones; loses RW and NX (here: may execute)
 * where a guest entry on the way denies it. */
static inline __attribute__((always_inline)) struct page_info *
pt_walk(struct mm_ctx *c, mfn_t root, uint64_t va, uint64_t *rights)
{
	uint64_t hw = root.v << PAGE_SHIFT;

	if (unlikely(pt_index(va, 4) - HYP_SLOT_FIRST < HYP_SLOTS))
		return NULL;
#pragma GCC unroll 3
	for (unsigned level = 4; level > 1; level--) {
		hw = walk_step(c, hw, va, level, rights);
		if (unlikely(!hw))
			return NULL;
	}
	return page_of(MFN(pte_frame(hw)));
}

#endif
