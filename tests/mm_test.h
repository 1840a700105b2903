/* SPDX-License-Identifier: MIT */
/*
 * A small machine with one domain for the memory tests, and an oracle: it computes from the guest's
 * tables, the P2M and the references the test holds what every hardware table, reference count
 * and rmap slot must be, without using the code under test.
 */
#ifndef TESTS_MM_TEST_H
#define TESTS_MM_TEST_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/domain.h"
#include "core/host/host.h"
#include "core/hypercall.h"
#include "memsvc/pt.h"
#include "tests/seed.h"

#define T_NAMES 600 /* more than one block of 512 */
#define T_FRAMES 20000

#define P_RW_AD (PTE_P | PTE_RW | PTE_A | PTE_D)
#define P_RO_A (PTE_P | PTE_A)
#define P_TABLE (PTE_P | PTE_RW | PTE_US | PTE_A | PTE_D)

static struct domain *dom;
static struct mm *mm;
static uint64_t free_at_start;
/* References the test holds itself. */
static unsigned t_pins[T_NAMES], t_pin_level[T_NAMES], t_bases[T_NAMES];
/* Names whose frame or kind changed: entries for them may permit less than the guest's. */
static _Atomic bool t_touched[T_NAMES];

static inline uint64_t entry(uint64_t gfn, uint64_t flags)
{
	return gfn << PAGE_SHIFT | flags;
}

struct rnd {
	uint64_t s;
};

static inline uint64_t rnd(struct rnd *r)
{
	return seed_next(&r->s);
}

static inline uint64_t rnd_to(struct rnd *r, uint64_t n)
{
	return (rnd(r) >> 11) % n;
}

static inline void machine_memory(void)
{
	struct mem_range r[2];

	host_arena_init(T_FRAMES);
	/* Two ranges with a hole between them. */
	r[0] = (struct mem_range){HOST_FIRST_MFN << PAGE_SHIFT, 1000 << PAGE_SHIFT};
	r[1] = (struct mem_range){(HOST_FIRST_MFN + 1100) << PAGE_SHIFT, (T_FRAMES - 1100)
										 << PAGE_SHIFT};
	cr_assert_eq(frames_init(r, 2), 0);
}

static inline void domain_make(uint64_t names, unsigned vcpus)
{
	dom = aligned_alloc(CACHE_LINE, ROUND_UP(sizeof(*dom), CACHE_LINE));
	memset(dom, 0, sizeof(*dom));
	dom->id = 1;
	dom->max_vcpus = vcpus;
	for (unsigned i = 0; i < vcpus; i++) {
		struct vcpu *v = aligned_alloc(CACHE_LINE, ROUND_UP(sizeof(*v), CACHE_LINE));

		memset(v, 0, sizeof(*v));
		v->id = i;
		v->domain = dom;
		arch_vcpu_init(v);
		dom->vcpu[i] = v;
	}
	free_at_start = frames_free_count();
	mm = &dom->mm;
	cr_assert_eq(mm_init(mm, 1, names, NULL, 0), 0);
	memset(t_pins, 0, sizeof(t_pins));
	memset(t_pin_level, 0, sizeof(t_pin_level));
	memset(t_bases, 0, sizeof(t_bases));
	memset(t_touched, 0, sizeof(t_touched));
}

/* What a pCPU does between two tries of a preempted operation. */
static inline void between(void)
{
	host_service();
	tlb_serve();
	this_pcpu()->work = 0;
}

/* All pCPUs go on until the domain's memory is gone. */
static inline void teardown_all(void)
{
	for (unsigned tries = 0; !mm_teardown(mm, 100); tries++) {
		for (unsigned i = 0; i < nr_pcpus(); i++) {
			unsigned was = host_become(i);

			between();
			host_become(was);
		}
		host_sim_rcu_drain();
		cr_assert_lt(tries, 10000, "teardown does not end");
	}
}

static inline void domain_done(void)
{
	struct mm_stats st;

	teardown_all();
	mm_stats(mm, &st);
	for (unsigned k = 0; k < MMK_KINDS; k++)
		cr_assert_eq(st.frames[k], 0, "kind %u: %lld frames", k, (long long)st.frames[k]);
	cr_assert_eq(frames_free_count(), free_at_start, "%llu frames lost",
		     (unsigned long long)(free_at_start - frames_free_count()));
	for (unsigned i = 0; i < dom->max_vcpus; i++)
		free(dom->vcpu[i]);
	free(dom);
}

static inline _Atomic uint64_t *guest_page(uint64_t gfn)
{
	mfn_t m = mm_gfn_to_mfn(mm, GFN(gfn));

	return mfn_valid_value(m) ? arch_mfn_to_virt(m) : NULL;
}

static inline struct gfn_rec *rec_of(uint64_t gfn)
{
	return p2m_rec(mm, gfn);
}

static inline bool backed(uint64_t gfn)
{
	return gfn < T_NAMES && guest_page(gfn) != NULL;
}

static inline void reap_all(void)
{
	while (mm_reap(mm))
		between();
}

/* Issue a memory hypercall and its continuations, as the guest would. */
static inline long hc4(long (*fn)(uint64_t, uint64_t, uint64_t, uint64_t), uint64_t a, uint64_t b,
		       uint64_t c, uint64_t d)
{
	uint64_t *args = current_vcpu()->hc.args;
	long rc;

	args[0] = a, args[1] = b, args[2] = c, args[3] = d;
	while ((rc = fn(args[0], args[1], args[2], args[3])) == -HC_CONTINUE)
		between();
	return rc;
}

static inline int pin_all(uint64_t gfn, unsigned level)
{
	int rc;

	while ((rc = mm_pin(mm, GFN(gfn), level)) == MM_PREEMPTED)
		between();
	return rc;
}

static inline int base_all(uint64_t gfn, mfn_t *root)
{
	int rc;

	while ((rc = mm_base_get(mm, GFN(gfn), root)) == MM_PREEMPTED)
		between();
	return rc;
}

/* 1-3-5-7 become a tree that maps all names linearly, its tables read-only; it is
 * pinned and loaded. */
static inline void linear_tree(void)
{
	mfn_t root;

	guest_page(1)[0] = entry(3, P_TABLE);
	guest_page(3)[0] = entry(5, P_TABLE);
	guest_page(5)[0] = entry(7, P_TABLE);
	for (unsigned i = 0; i < 512; i++)
		guest_page(7)[i] = entry(i, i >= 1 && i <= 12 ? P_RO_A : P_RW_AD);
	arch_context_switch(NULL, dom->vcpu[0]);
	cr_assert_eq(pin_all(1, 4), 0);
	cr_assert_eq(base_all(1, &root), 0);
	arch_new_baseptr(GFN(1), root);
}

/* ---- the oracle ------------------------------------------------------------------------------ */

struct model {
	unsigned level[T_NAMES]; /* live table level, 0: ordinary page */
	unsigned refs[T_NAMES];
};

static inline void model_ref(struct model *m, uint64_t gfn, unsigned level)
{
	_Atomic uint64_t *g = guest_page(gfn);

	cr_assert(gfn < T_NAMES && g, "a live table has no frame");
	cr_assert(!m->level[gfn] || m->level[gfn] == level, "name %llu: levels %u and %u",
		  (unsigned long long)gfn, m->level[gfn], level);
	m->refs[gfn]++;
	if (m->level[gfn])
		return;
	m->level[gfn] = level;
	for (unsigned i = 0; level > 1 && i < 512; i++)
		if (g[i] & PTE_P && !(level == 4 && i >= 256 && i < 272))
			model_ref(m, pte_frame(g[i]), level - 1);
}

static inline void model_build(struct model *m)
{
	memset(m, 0, sizeof(*m));
	for (uint64_t g = 0; g < T_NAMES; g++) {
		for (unsigned i = 0; i < t_pins[g]; i++)
			model_ref(m, g, t_pin_level[g]);
		for (unsigned i = 0; i < t_bases[g]; i++)
			model_ref(m, g, 4);
	}
}

static inline unsigned tree_slots(struct rmap_node *n, uint64_t parent, uint64_t *out, unsigned k,
				  unsigned max)
{
	unsigned used = 0;

	if (!n)
		return k;
	cr_assert_eq(n->parent, parent, "a node of another parent");
	for (unsigned i = 0; i < RMAP_NODE_SLOTS; i++)
		if (n->slot[i]) {
			cr_assert_lt(k, max);
			out[k++] = n->slot[i];
			used++;
		}
	for (unsigned i = 0; i < 4; i++) {
		used += n->child[i] != NULL;
		k = tree_slots(n->child[i], (uint64_t)n | i, out, k, max);
	}
	cr_assert_eq(n->used, used, "a node with %u in use says %llu", used,
		     (unsigned long long)n->used);
	cr_assert_neq(used, 0, "an empty node at rest");
	return k;
}

static inline unsigned slots_of(struct gfn_rec *rec, uint64_t *out, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < RMAP_INLINE; i++)
		if (rec->slot[i])
			out[n++] = rec->slot[i];
	return tree_slots(rec->ovf, 0, out, n, max);
}

/* Slots of each name == the entries that say they have one. */
static inline void check_rmap(unsigned long expected_slots)
{
	static uint64_t loc[100000];
	unsigned long total = 0;

	for (uint64_t g = 0; g < T_NAMES; g++) {
		struct gfn_rec *rec = rec_of(g);
		unsigned n = rec ? slots_of(rec, loc, 100000) : 0;

		total += n;
		for (unsigned i = 0; i < n; i++) {
			uint64_t *hw = arch_mfn_to_virt(MFN(loc[i] >> 9));
			uint64_t e = hw[loc[i] & 511];

			cr_assert((e & PTE_P) && (e & HW_SLOT), "slot without entry");
			cr_assert_eq(pte_frame(e), mm_gfn_to_mfn(mm, GFN(g)).v,
				     "slot of another name");
			for (unsigned j = 0; j < i; j++)
				cr_assert_neq(loc[i], loc[j], "a location twice");
		}
	}
	cr_assert_eq(total, expected_slots, "%lu slots, %lu entries", total, expected_slots);
}

static inline void check_leaf(struct model *m, struct page_info *pi, unsigned i, uint64_t g,
			      uint64_t hw, unsigned long *slots)
{
	uint64_t t = pte_frame(g), want = 0;
	bool ok = (g & PTE_P) && t < T_NAMES && backed(t);

	if (ok && g & PTE_A) {
		want = mm_gfn_to_mfn(mm, GFN(t)).v << 12 | PTE_P | PTE_US | PTE_A | (g & PTE_NX);
		if (g & PTE_RW && g & PTE_D && !m->level[t])
			want |= PTE_RW | PTE_D;
	}
	if (hw & PTE_P && !(hw & HW_SLOT)) {
		cr_assert_eq(*p2m_linear(mm, t), mfn_of(pi).v, "neither slot nor linear");
		cr_assert_eq(t & 511, i);
	}
	*slots += !!(hw & HW_SLOT);
	hw &= ~HW_SLOT;
	if (hw == want)
		return;
	cr_assert(ok && t_touched[t] && (!hw || hw == (want & ~(PTE_RW | PTE_D))),
		  "entry %u of the L1: guest %llx, hardware %llx, expected %llx (touched %d)", i,
		  (unsigned long long)g, (unsigned long long)hw, (unsigned long long)want,
		  ok && t_touched[t]);
}

/* Everything at rest. */
static inline void check_all(void)
{
	static struct model m;
	unsigned long slots = 0;
	int64_t tables = 0;

	model_build(&m);
	for (uint64_t g = 0; g < T_NAMES; g++) {
		struct gfn_rec *rec = rec_of(g);
		uint64_t pt = rec ? rec->pt : 0;
		struct page_info *pi;
		uint64_t *hw;
		_Atomic uint64_t *gp;

		cr_assert_eq(PT_LEVEL(pt), m.level[g], "name %llu: level %u, expected %u",
			     (unsigned long long)g, PT_LEVEL(pt), m.level[g]);
		cr_assert_eq(PT_REFS(pt), m.refs[g], "name %llu: %llu references, expected %u",
			     (unsigned long long)g, (unsigned long long)PT_REFS(pt), m.refs[g]);
		cr_assert_eq(!!(pt & PT_PINNED), t_pins[g]);
		if (!pt_is_table(pt))
			continue;
		tables++;
		pi = page_of(PT_HW(pt));
		cr_assert_eq(page_type(pi), PG_HWTABLE);
		cr_assert_eq(pi->hw.rec, rec);
		hw = arch_mfn_to_virt(mfn_of(pi));
		gp = guest_page(g);
		for (unsigned i = 0; i < 512; i++) {
			uint64_t want = 0;

			if (m.level[g] == 1) {
				check_leaf(&m, pi, i, gp[i], hw[i], &slots);
				continue;
			}
			if (m.level[g] == 4 && i >= 256 && i < 272) {
				cr_assert_eq(hw[i], arch_hyp_l4[i - 256]);
				continue;
			}
			if (gp[i] & PTE_P)
				want = PT_HW(rec_of(pte_frame(gp[i]))->pt).v << 12 | PTE_P |
				       PTE_US | PTE_A | (gp[i] & (PTE_RW | PTE_NX));
			cr_assert_eq(hw[i], want, "upper entry %u of name %llu", i,
				     (unsigned long long)g);
		}
	}
	cr_assert_leq(tables, mm_sum(mm, MMK_HWTABLE));
	check_rmap(slots);
}

#endif
