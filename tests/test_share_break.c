/* SPDX-License-Identifier: MIT */
/*
 * Breaking the share of a merged name: when it needs a flush, when not, and what another vCPU, which
 * keeps translations until it is told to flush, sees of it. See memsvc/name.h.
 */
#include "mm_test.h"

#include "memsvc/name.h"
#include "memsvc/scan_impl.h"
#include "memsvc/share_table.h"

#define TABLE 4 /* L1 of the tests; entry i maps name FIRST + i */
#define FIRST 20
#define NAMES 8

static struct page_info *table;

static uint64_t *page(mfn_t m)
{
	cr_assert(mfn_valid_value(m));
	return arch_mfn_to_virt(m);
}

static void fill(uint64_t gfn, uint64_t v)
{
	uint64_t *p = page(mm_gfn_get_writable(mm, GFN(gfn)));

	for (unsigned i = 0; i < 512; i++)
		p[i] = v;
}

static void setup(unsigned pcpus)
{
	_Atomic uint64_t *gt;

	machine_memory();
	host_sim_init(pcpus);
	cr_assert_eq(share_table_init(frames_total()), 0);
	domain_make(T_NAMES, pcpus);
	mm_promise_all(mm);
	gt = (_Atomic uint64_t *)page(mm_gfn_get_writable(mm, GFN(TABLE)));
	for (unsigned i = 0; i < NAMES; i++) {
		gt[i] = entry(FIRST + i, P_RW_AD);
		fill(FIRST + i, 5);
	}
	cr_assert_eq(pin_all(TABLE, 1), 0);
	table = pt_of(p2m_rec(mm, TABLE));
}

static void teardown(void)
{
	cr_assert_eq(mm_unpin(mm, GFN(TABLE)), 0);
	reap_all();
	domain_done();
	cr_assert_eq(share_frames(), 0);
}

static uint64_t settled(uint64_t gfn)
{
	uint64_t word = name_guard(mm, GFN(gfn));

	cr_assert(word);
	tlb_shootdown_mm(mm);
	host_sim_rcu_drain();
	cr_assert(name_settle(mm, GFN(gfn), word));
	return word;
}

/* Name @gfn gets the frame of FIRST; its merged word. */
static uint64_t merge(uint64_t gfn)
{
	uint64_t word = settled(gfn);
	mfn_t f = mm_gfn_to_mfn(mm, GFN(FIRST));

	if (!share_refs(f))
		cr_assert(name_promote(mm, GFN(FIRST), settled(FIRST)));
	cr_assert(share_get(f));
	word = name_share(mm, GFN(gfn), word, f);
	cr_assert(word);
	return word;
}

static void flushed(uint64_t gfn, uint64_t word)
{
	tlb_shootdown_mm(mm);
	name_flushed(mm, GFN(gfn), word);
}

/* What a guest's access does: the name is touched, and its entry is brought in step. */
static uint64_t access_page(uint64_t gfn, bool write)
{
	struct mm_ctx c = ctx_begin(mm);

	cr_assert_eq(name_touch(mm, gfn, write, true), 0);
	cr_assert_eq(sync_leaf(&c, table, (unsigned)(gfn - FIRST)), 0);
	ctx_end(&c);
	return hw_entries(table)[gfn - FIRST];
}

static void sync_only(uint64_t gfn)
{
	struct mm_ctx c = ctx_begin(mm);

	cr_assert_eq(sync_leaf(&c, table, (unsigned)(gfn - FIRST)), 0);
	ctx_end(&c);
}

/* Flushes of this pCPU, which has the mm loaded, by a first write to @gfn. */
static uint32_t flushes_to_write(uint64_t gfn)
{
	struct pcpu *p = this_pcpu();
	uint32_t before = atomic_load(&p->tlb.epoch);

	cr_assert_eq(access_page(gfn, true) & (PTE_P | PTE_RW), PTE_P | PTE_RW);
	cr_assert_eq(page(mm_gfn_to_mfn(mm, GFN(gfn)))[0], 5, "not a copy");
	return atomic_load(&p->tlb.epoch) - before;
}

Test(share_break, no_flush_for_what_was_not_used_since)
{
	uint64_t word[NAMES];

	setup(1);
	tlb_note_load(mm);
	for (uint64_t i = 1; i < NAMES; i++)
		word[i] = merge(FIRST + i);
	cr_assert_eq(share_refs(mm_gfn_to_mfn(mm, GFN(FIRST))), NAMES);
	cr_assert_eq(flushes_to_write(FIRST + 1), 1, "nobody has flushed for it");
	tlb_shootdown_mm(mm);
	for (uint64_t i = 1; i < NAMES; i++)
		name_flushed(mm, GFN(FIRST + i), word[i]); /* the first is another's by now */
	cr_assert_eq(flushes_to_write(FIRST + 2), 0);
	/* Its guest may map it anew: not entered before it is used. */
	sync_only(FIRST + 3);
	cr_assert_eq(hw_entries(table)[3], 0);
	cr_assert_eq(flushes_to_write(FIRST + 3), 0);
	/* Read since. */
	cr_assert_eq(access_page(FIRST + 4, false) & (PTE_P | PTE_RW), PTE_P);
	cr_assert_eq(flushes_to_write(FIRST + 4), 1);
	/* Sampled: no entry either. */
	cr_assert(name_sample(mm, GFN(FIRST + 5)));
	tlb_shootdown_mm(mm);
	cr_assert_eq(flushes_to_write(FIRST + 5), 0);
	/* Sampled, and read before it was looked at. */
	cr_assert(name_sample(mm, GFN(FIRST + 6)));
	tlb_shootdown_mm(mm);
	access_page(FIRST + 6, false);
	cr_assert(name_sample_end(mm, GFN(FIRST + 6)));
	cr_assert_eq(flushes_to_write(FIRST + 6), 1);
	/* The one that brought the frame had entries all the time. */
	cr_assert_eq(flushes_to_write(FIRST), 1);
	cr_assert_eq(share_breaks(), NAMES - 1);
	cr_assert_eq(share_breaks_quiet(), 3);
	tlb_note_load(NULL);
	teardown();
}

/* Who reads it between the merge and the flush may have it cached again after the flush. */
Test(share_break, read_before_it_counts_as_flushed)
{
	uint64_t word;

	setup(1);
	tlb_note_load(mm);
	word = merge(FIRST + 1);
	access_page(FIRST + 1, false);
	flushed(FIRST + 1, word);
	cr_assert_eq(flushes_to_write(FIRST + 1), 1);
	/* The same with the zero frame. */
	fill(FIRST + 2, 0);
	word = name_share_zero(mm, GFN(FIRST + 2), settled(FIRST + 2));
	cr_assert(word);
	flushed(FIRST + 2, word);
	fill(FIRST + 3, 0);
	word = name_share_zero(mm, GFN(FIRST + 3), settled(FIRST + 3));
	access_page(FIRST + 3, false);
	flushed(FIRST + 3, word);
	cr_assert_eq(share_breaks_quiet(), 0);
	fill(FIRST + 2, 5);
	cr_assert_eq(share_breaks_quiet(), 1);
	fill(FIRST + 3, 5);
	cr_assert_eq(share_breaks_quiet(), 1);
	tlb_note_load(NULL);
	teardown();
}

/* Given up: the shared frame was in no TLB. */
Test(share_break, given_up_without_a_flush)
{
	struct pcpu *p;
	uint32_t before;

	setup(1);
	p = this_pcpu();
	tlb_note_load(mm);
	merge(FIRST + 1);
	merge(FIRST + 2);
	access_page(FIRST + 2, false);
	before = atomic_load(&p->tlb.epoch);
	cr_assert_eq(mm_decrease(mm, GFN(FIRST + 1)), 0);
	cr_assert_eq(atomic_load(&p->tlb.epoch) - before, 0);
	cr_assert_eq(mm_decrease(mm, GFN(FIRST + 2)), 0);
	cr_assert_eq(atomic_load(&p->tlb.epoch) - before, 1);
	cr_assert_eq(share_refs(mm_gfn_to_mfn(mm, GFN(FIRST))), 1);
	tlb_note_load(NULL);
	teardown();
}

/* A batch is flushed for when enough of it was merged. */
Test(share_break, the_scanner_flushes_for_many)
{
	struct scan_page p[SCAN_FLUSH_MIN];
	struct name_view v;

	setup(1);
	tlb_note_load(mm);
	for (unsigned i = 0; i < SCAN_FLUSH_MIN; i++) {
		uint64_t g = 100 + i;

		fill(g, 0);
		p[i] = (struct scan_page){g, settled(g)};
		scan_hash(mm, &p[i], &p[i]);
		name_look(mm, GFN(g), &v);
		cr_assert(v.zero);
		cr_assert_eq(v.word, p[i].word);
		cr_assert(v.word & P2M_STALE);
		scan_flush_merged(mm, p, i + 1);
		name_look(mm, GFN(100), &v);
		cr_assert_eq(!(v.word & P2M_STALE), i + 1 == SCAN_FLUSH_MIN);
	}
	for (unsigned i = 0; i < SCAN_FLUSH_MIN; i++) {
		name_look(mm, GFN(100 + i), &v);
		cr_assert(p2m_merged(v.word) && !(v.word & P2M_STALE));
	}
	tlb_note_load(NULL);
	teardown();
}

/* ---- another vCPU ---------------------------------------------------------------------------- */

/* pCPU 1 keeps the translation of one name until it is told to flush. */
static _Thread_local bool reads;
static _Atomic uint64_t cached;
static _Atomic unsigned flushes;
static _Atomic enum { IDLE, LOAD, READ, LEAVE, WAIT, END } order;

static void hook(uint64_t va)
{
	if (reads && va == UINT64_MAX) {
		atomic_store(&cached, 0);
		atomic_fetch_add(&flushes, 1);
	}
}

static void reader(void)
{
	reads = true;
	while (atomic_load(&order) != END) {
		switch (atomic_load(&order)) {
		case LOAD:
			tlb_note_load(mm);
			break;
		case READ:
			if (!atomic_load(&cached))
				atomic_store(&cached, access_page(FIRST + 1, false));
			break;
		case LEAVE:
			tlb_note_load(NULL);
			atomic_store(&cached, 0);
			break;
		default:
			host_service();
			tlb_serve();
			this_pcpu()->work = 0;
			continue;
		}
		atomic_store(&order, IDLE);
	}
}

static void tell(unsigned what)
{
	atomic_store(&order, what);
	while (atomic_load(&order) != IDLE) {
		host_service();
		tlb_serve();
	}
}

static void over(struct rcu_head *h)
{
	(void)h;
	atomic_store(&order, IDLE);
}

static struct rcu_head grace;

/* merge(), with the grace period that threads let pass. */
static uint64_t merge_beside(uint64_t gfn)
{
	uint64_t a = name_guard(mm, GFN(gfn)), b = name_guard(mm, GFN(FIRST));
	mfn_t f = mm_gfn_to_mfn(mm, GFN(FIRST));

	cr_assert(a);
	tlb_shootdown_mm(mm);
	tell(READ); /* still the old frame, write-protected */
	cr_assert_eq(pte_frame(atomic_load(&cached)), p2m_mfn(a).v);
	atomic_store(&order, WAIT);
	call_rcu(&grace, over);
	while (atomic_load(&order) != IDLE) {
		host_service();
		host_clock_advance(NS_PER_MS);
		tlb_serve();
	}
	cr_assert(name_settle(mm, GFN(gfn), a));
	if (b) {
		cr_assert(name_settle(mm, GFN(FIRST), b));
		cr_assert(name_promote(mm, GFN(FIRST), b));
	}
	cr_assert(share_get(f));
	return name_share(mm, GFN(gfn), a, f);
}

static void writer(void)
{
	uint64_t word;
	unsigned before;

	tell(LOAD);
	for (unsigned i = 0; i < 3; i++) {
		bool flush = i != 1, read = i == 2;

		fill(FIRST + 1, 5);
		word = merge_beside(FIRST + 1);
		cr_assert(word);
		cr_assert_neq(atomic_load(&cached), 0, "the old frame's, until a flush");
		if (flush)
			flushed(FIRST + 1, word);
		if (flush)
			cr_assert_eq(atomic_load(&cached), 0);
		if (read) {
			tell(READ);
			cr_assert_eq(pte_frame(atomic_load(&cached)),
				     mm_gfn_to_mfn(mm, GFN(FIRST)).v);
		}
		before = atomic_load(&flushes);
		cr_assert(access_page(FIRST + 1, true) & PTE_RW);
		cr_assert_eq(atomic_load(&flushes) - before, !flush || read ? 1 : 0);
		/* Nothing old is left to be seen after the write. */
		cr_assert_eq(atomic_load(&cached), 0);
		page(mm_gfn_get_writable(mm, GFN(FIRST + 1)))[0] = 6;
		tell(READ);
		cr_assert_eq(page(MFN(pte_frame(atomic_load(&cached))))[0], 6);
		cr_assert_eq(page(mm_gfn_to_mfn(mm, GFN(FIRST)))[0], 5);
	}
	tell(LEAVE);
	atomic_store(&order, END);
}

static void both(void *arg)
{
	(void)arg;
	if (this_pcpu()->id)
		reader();
	else
		writer();
}

Test(share_break, another_vcpu_sees_the_write)
{
	setup(2);
	host_tlb_hook = hook;
	for (unsigned i = 0; i < 2; i++) {
		host_become(i);
		page_cache_drain(&this_pcpu()->pages);
	}
	host_threads_start(2, both, NULL);
	host_threads_join();
	cr_assert_eq(share_breaks(), 3);
	cr_assert_eq(share_breaks_quiet(), 1);
}
