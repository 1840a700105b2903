/* SPDX-License-Identifier: MIT */
/* Overflow chunks and walks; see rmap.h. */
#include "memsvc/rmap.h"

#include "core/lib.h"
#include "core/xen_errno.h"
#include "memsvc/pt.h"

/* Honest use needs at most 1.6 chunk pages per full hardware L1. */
static bool may_grow(struct mm *mm)
{
	return atomic_load_explicit(&mm->ovf_nr_pages, memory_order_relaxed) <
	       3 * mm_sum(mm, MMK_HWTABLE) + 16;
}

static void free_push(struct mm *mm, struct rmap_chunk *first, struct rmap_chunk *last)
{
	struct rmap_chunk *head = atomic_load_explicit(&mm->ovf_free, memory_order_relaxed);

	do {
		atomic_store_explicit(&last->next, head, memory_order_relaxed);
	} while (!atomic_compare_exchange_weak_explicit(
		&mm->ovf_free, &head, first, memory_order_release, memory_order_relaxed));
}

/* A chunk popped here comes back only through RCU, so the compare has no ABA. */
static struct rmap_chunk *free_pop(struct mm *mm)
{
	struct rmap_chunk *head = atomic_load_explicit(&mm->ovf_free, memory_order_acquire);

	while (head && !atomic_compare_exchange_weak_explicit(
			       &mm->ovf_free, &head,
			       atomic_load_explicit(&head->next, memory_order_relaxed),
			       memory_order_acquire, memory_order_acquire))
		;
	return head;
}

static struct rmap_chunk *chunk_alloc(struct mm *mm)
{
	struct rmap_chunk *c = free_pop(mm);
	struct page_info *pi;
	uint64_t head;

	if (c)
		return c;
	if (!may_grow(mm))
		return NULL;
	c = p2m_meta_page(mm, 0);
	if (!c)
		return NULL;
	pi = page_of(arch_virt_to_mfn(c));
	head = atomic_load_explicit(&mm->ovf_pages, memory_order_relaxed);
	do {
		atomic_store_explicit(&pi->next, head, memory_order_relaxed);
	} while (!atomic_compare_exchange_weak_explicit(
		&mm->ovf_pages, &head, mfn_of(pi).v, memory_order_release, memory_order_relaxed));
	atomic_fetch_add_explicit(&mm->ovf_nr_pages, 1, memory_order_relaxed);
	for (unsigned i = 1; i + 1 < PAGE_SIZE / sizeof(*c); i++)
		atomic_store_explicit(&c[i].next, &c[i + 1], memory_order_relaxed);
	free_push(mm, &c[1], &c[PAGE_SIZE / sizeof(*c) - 1]);
	return c;
}

static void chunk_freed(struct rcu_head *h)
{
	struct rmap_chunk *c = container_of(h, struct rmap_chunk, rcu);
	struct mm *mm = page_of(arch_virt_to_mfn(c))->meta.mm;

	free_push(mm, c, c);
	/* The last touch of the mm: its teardown waits for this. PAIRS: ovf_rcu */
	atomic_fetch_sub_explicit(&mm->ovf_rcu, 1, memory_order_release);
}

static bool slot_cas(_Atomic uint64_t *s, uint64_t from, uint64_t to)
{
	return atomic_load_explicit(s, memory_order_relaxed) == from &&
	       atomic_compare_exchange_strong(s, &from, to);
}

int rmap_add_slow(struct mm *mm, struct gfn_rec *rec, uint64_t loc)
{
	struct rmap_chunk *head = atomic_load(&rec->ovf), *c;

	for (c = head; c; c = atomic_load_explicit(&c->next, memory_order_acquire))
		for (unsigned i = 0; i < RMAP_CHUNK_SLOTS; i++)
			if (slot_cas(&c->slot[i], 0, loc))
				return 0;
	c = chunk_alloc(mm);
	if (!c)
		return -XEN_ENOMEM;
	for (unsigned i = 0; i < RMAP_CHUNK_SLOTS; i++)
		atomic_store_explicit(&c->slot[i], i ? 0 : loc, memory_order_relaxed);
	head = atomic_load(&rec->ovf);
	do {
		atomic_store_explicit(&c->next, head, memory_order_relaxed);
	} while (!atomic_compare_exchange_weak(&rec->ovf, &head, c));
	return 0;
}

/* Remove empty chunks from the head of the list. */
static void trim(struct gfn_rec *rec)
{
	for (;;) {
		struct rmap_chunk *c = atomic_load(&rec->ovf), *want = c;
		struct mm *mm;
		unsigned n = 0;

		if (!c)
			return;
		while (n < RMAP_CHUNK_SLOTS && slot_cas(&c->slot[n], 0, RMAP_FROZEN))
			n++;
		if (n < RMAP_CHUNK_SLOTS ||
		    !atomic_compare_exchange_strong(
			    &rec->ovf, &want,
			    atomic_load_explicit(&c->next, memory_order_relaxed))) {
			while (n--)
				atomic_store(&c->slot[n], 0);
			return;
		}
		mm = page_of(arch_virt_to_mfn(c))->meta.mm;
		atomic_fetch_add_explicit(&mm->ovf_rcu, 1, memory_order_relaxed);
		call_rcu(&c->rcu, chunk_freed);
	}
}

/*
 * Two removers of equal copies can pass each other while copies move, so look again; each
 * failed pass means that someone else took a copy. A copy always exists: bounded only to turn a
 * broken invariant into a message instead of a hang.
 */
void rmap_del_slow(struct gfn_rec *rec, uint64_t loc)
{
	for (unsigned pass = 0; pass < 100000; pass++) {
		struct rmap_chunk *c = atomic_load(&rec->ovf);

		for (; c; c = atomic_load_explicit(&c->next, memory_order_acquire))
			for (unsigned i = 0; i < RMAP_CHUNK_SLOTS; i++)
				if (slot_cas(&c->slot[i], loc, 0)) {
					trim(rec);
					return;
				}
		for (unsigned i = 0; i < RMAP_INLINE; i++)
			if (slot_cas(&rec->slot[i], loc, 0))
				return;
	}
	panic("rmap: location %lx of name %lx is not recorded", (unsigned long)loc,
	      (unsigned long)p2m_rec_gfn(rec));
}

static _Atomic uint64_t *entry_at(uint64_t loc)
{
	return (_Atomic uint64_t *)arch_mfn_to_virt(MFN(loc >> 9)) + (loc & 511);
}

static bool maps(uint64_t e, mfn_t m)
{
	return e & PTE_P && pte_frame(e) == m.v;
}

static void clear_entry(uint64_t loc, mfn_t m)
{
	_Atomic uint64_t *e = entry_at(loc);
	uint64_t old = atomic_load(e);

	while (maps(old, m))
		if (atomic_compare_exchange_weak(e, &old, 0)) {
			rmap_retract(old, loc);
			return;
		}
}

typedef bool (*visit_fn)(uint64_t loc, mfn_t m);

static bool visit_clear(uint64_t loc, mfn_t m)
{
	clear_entry(loc, m);
	return false;
}

static bool visit_writable(uint64_t loc, mfn_t m)
{
	uint64_t e = atomic_load(entry_at(loc));

	/* A detached table that waits for its sweep counts no more. */
	return maps(e, m) && e & PTE_RW && pt_live(page_of(MFN(loc >> 9)));
}

/* Call @fn for every recorded location, until it returns true. */
static bool walk(struct mm *mm, struct gfn_rec *rec, uint64_t gfn, mfn_t m, visit_fn fn)
{
	_Atomic uint64_t *lin = p2m_linear(mm, gfn);
	uint64_t hw = lin ? atomic_load(lin) : 0;
	struct rmap_chunk *c;

	if (hw && fn(rmap_loc(MFN(hw), gfn & (BLOCK_NAMES - 1)), m))
		return true;
	for (unsigned i = 0; i < RMAP_INLINE; i++) {
		uint64_t loc = atomic_load(&rec->slot[i]);

		if (loc && fn(loc, m))
			return true;
	}
	for (c = atomic_load(&rec->ovf); c;
	     c = atomic_load_explicit(&c->next, memory_order_acquire))
		for (unsigned i = 0; i < RMAP_CHUNK_SLOTS; i++) {
			uint64_t loc = atomic_load(&c->slot[i]);

			if (loc && loc != RMAP_FROZEN && fn(loc, m))
				return true;
		}
	return false;
}

void rmap_clear_all(struct mm *mm, struct gfn_rec *rec, uint64_t gfn, mfn_t m)
{
	walk(mm, rec, gfn, m, visit_clear);
}

bool rmap_any_writable(struct mm *mm, struct gfn_rec *rec, uint64_t gfn, mfn_t m)
{
	return walk(mm, rec, gfn, m, visit_writable);
}
