/* SPDX-License-Identifier: MIT */
/* memsvc/: names, the P2M and page tables of one domain, used by several pCPUs at once. */
#include "stress/litmus/tests/names.h"

static int map(uint64_t gfn)
{
	struct mm_ctx c = ctx_begin(mm);
	int rc = pt_write(&c, table, at, gfn ? gfn << PAGE_SHIFT | FLAGS : 0, 0, NULL);

	ctx_end(&c);
	return rc;
}

/* The hardware's entry is for the frame that the guest's entry names now, or absent. */
static void check_entry(void)
{
	uint64_t g = atomic_load(&table->hw.gpt[at]), h = hw();
	struct gfn_rec *rec = p2m_rec(mm, pte_frame(g));
	uint64_t word = rec ? atomic_load(&rec->word) : 0;

	if (!(h & PTE_P))
		return;
	LITMUS_ASSERT(g & PTE_P);
	LITMUS_ASSERT(word & P2M_VALID);
	LITMUS_ASSERT(pte_frame(h) == p2m_mfn(word).v);
	LITMUS_ASSERT(!(h & PTE_RW) || !(word & P2M_RO));
}

/* Locations recorded for a name are those of its entries. */
static void check_rmap(uint64_t gfn)
{
	struct gfn_rec *rec = p2m_rec(mm, gfn);
	unsigned n = 0;

	for (unsigned i = 0; i < RMAP_INLINE; i++)
		n += atomic_load(&rec->slot[i]) != 0;
	LITMUS_ASSERT(n ==
		      ((hw() & HW_SLOT) && pte_frame(hw()) == p2m_mfn(atomic_load(&rec->word)).v));
}

/* ---- an entry is made for a name that is given up ---- */

static void setup_two(void)
{
	setup(2);
}

static void thread_decrease(unsigned me)
{
	if (me)
		map(NAME);
	else
		LITMUS_ASSERT(mm_decrease(mm, GFN(NAME)) == 0);
}

static void check_decrease(void)
{
	LITMUS_ASSERT(!(hw() & PTE_P));
	check_rmap(NAME);
}

LITMUS(decrease, "p2m", "no entry stays for a name that was given up", 2, 2, setup_two,
       thread_decrease, check_decrease);

/* The same where the table maps the block linearly. */
static void setup_linear(void)
{
	setup(2);
	at = NAME;
}

LITMUS(linear, "p2m_linear", "the same with an entry that has no slot", 2, 2, setup_linear,
       thread_decrease, check_decrease);

/* ---- two writers of one entry ---- */

static void thread_write(unsigned me)
{
	LITMUS_ASSERT(map(me ? NAME : NAME + 1) == 0);
}

static void check_write(void)
{
	LITMUS_ASSERT(hw() & PTE_P);
	check_entry();
	check_rmap(NAME);
	check_rmap(NAME + 1);
}

LITMUS(writers, "pt_entry", "the hardware's entry is that of the last guest entry", 2, 2, setup_two,
       thread_write, check_write);

/* ---- an entry is written while its table goes ---- */

static void thread_unpin(unsigned me)
{
	if (me) {
		map(NAME);
		return;
	}
	LITMUS_ASSERT(mm_unpin(mm, GFN(TABLE)) == 0);
	LITMUS_ASSERT(mm_reap(mm) == 0);
}

static void check_unpin(void)
{
	LITMUS_ASSERT(!hw());
	check_rmap(NAME);
}

LITMUS(detach, "pt_detach", "nothing is left in a table that is no longer one", 2, 2, setup_two,
       thread_unpin, check_unpin);

/* ---- references to a table ---- */

static void thread_refs(unsigned me)
{
	struct mm_ctx c = ctx_begin(mm);
	struct page_info *pi;

	if (me == 0) {
		LITMUS_ASSERT(mm_unpin(mm, GFN(TABLE)) == 0);
		LITMUS_ASSERT(mm_reap(mm) == 0);
		return;
	}
	if (!table_get(&c, TABLE, 1, &pi))
		table_put(&c, pi);
	ctx_end(&c);
}

static void check_refs(void)
{
	LITMUS_ASSERT(atomic_load(&p2m_rec(mm, TABLE)->pt) == 0);
}

LITMUS(table_refs, "pt_refs", "a table goes with its last reference", 2, 2, setup_two, thread_refs,
       check_refs);

/* ---- a table that two make ---- */

static struct page_info *made[2];

static void setup_make(void)
{
	setup(2);
	if (mm_unpin(mm, GFN(TABLE)) || mm_reap(mm))
		litmus_fail("not unpinned");
	world_settle();
}

static void thread_make(unsigned me)
{
	struct mm_ctx c = ctx_begin(mm);

	LITMUS_ASSERT(table_get(&c, TABLE, 1, &made[me]) == 0);
	LITMUS_ASSERT(made[me]->hw.level == 1);
}

static void check_make(void)
{
	LITMUS_ASSERT(made[0] == made[1]);
	LITMUS_ASSERT(PT_REFS(atomic_load(&p2m_rec(mm, TABLE)->pt)) == 2);
}

LITMUS(table_make, "pt_make", "a name has one table, which is whole when found", 2, 2, setup_make,
       thread_make, check_make);

/* ---- writable translations of a page that becomes a page table ---- */

/* Of pCPU 0's TLB: it has the leaf; it has got it back after a flush. */
static _Atomic bool cached;
static bool renewed, pinned;
static _Atomic bool over;

static bool writable(void)
{
	return (hw() & (PTE_P | PTE_RW)) == (PTE_P | PTE_RW);
}

static bool both(void)
{
	return writable() && rec_is_table(p2m_rec(mm, NAME));
}

static void flush_cached(uint64_t va)
{
	(void)va;
	if (this_pcpu()->id == 0)
		atomic_store_explicit(&cached, false, memory_order_relaxed);
}

static void setup_clean(void)
{
	setup(2);
	atomic_store(&cached, false);
	atomic_store(&over, false);
	renewed = pinned = false;
	host_tlb_hook = flush_cached;
	tlb_note_load(mm);
}

static void setup_cached(void)
{
	setup_clean();
	if (map(NAME) || !writable())
		litmus_fail("not mapped");
	atomic_store(&cached, true);
}

static void pin_name(void)
{
	pinned = !mm_pin(mm, GFN(NAME), 1);
	LITMUS_ASSERT(!pinned || !atomic_load_explicit(&cached, memory_order_relaxed));
	/* A walk by the hardware. */
	if (table && writable())
		atomic_store_explicit(&cached, true, memory_order_relaxed);
	while (!atomic_load_explicit(&over, memory_order_acquire)) {
		tlb_serve();
		cpu_relax();
	}
}

static void check_both(void)
{
	LITMUS_ASSERT(pinned == rec_is_table(p2m_rec(mm, NAME)));
	LITMUS_ASSERT(!both());
	LITMUS_ASSERT(!atomic_load(&cached) || !rec_is_table(p2m_rec(mm, NAME)));
}

/* 0 makes a table of a page whose writable mapping 1 takes away. */
static void thread_gone(unsigned me)
{
	if (!me) {
		pin_name();
		return;
	}
	map(0);
	atomic_store_explicit(&over, true, memory_order_release);
}

LITMUS(pin_gone, "pt_rw", "no writable translation of a page table is left in a TLB", 2, 2,
       setup_cached, thread_gone, check_both);

/* The same where the mapping is the first one, and short. */
static void thread_first(unsigned me)
{
	if (!me) {
		pin_name();
		return;
	}
	map(NAME);
	if (writable())
		atomic_store_explicit(&cached, true, memory_order_relaxed);
	map(0);
	atomic_store_explicit(&over, true, memory_order_release);
}

LITMUS(pin_first, "pt_rw_first", "the same for a page mapped just then", 2, 2, setup_clean,
       thread_first, check_both);

static void thread_last(unsigned me)
{
	if (!me) {
		pin_name();
		return;
	}
	map(NAME);
	atomic_store_explicit(&over, true, memory_order_release);
}

LITMUS(pin_last, "pt_rw_last", "a page table has no writable leaf", 2, 2, setup_clean, thread_last,
       check_both);

/* The leaf comes with the table that it is in. */
static void setup_filled(void)
{
	setup_clean();
	atomic_store(&table->hw.gpt[at], (uint64_t)NAME << PAGE_SHIFT | FLAGS);
	if (mm_unpin(mm, GFN(TABLE)) || mm_reap(mm))
		litmus_fail("not unpinned");
	table = NULL; /* its frame will be another's */
	world_settle();
}

static void thread_filled(unsigned me)
{
	if (!me) {
		pin_name();
		return;
	}
	mm_pin(mm, GFN(TABLE), 1);
	atomic_store_explicit(&over, true, memory_order_release);
}

static void check_filled(void)
{
	table = pt_of(p2m_rec(mm, TABLE));
	LITMUS_ASSERT(!table || !both());
}

LITMUS(pin_filled, "pt_rw_filled", "the same when another table is made", 2, 2, setup_filled,
       thread_filled, check_filled);

/* The table is let go, and the page mapped again, before its maker flushes. */
static void flush_renewed(uint64_t va)
{
	(void)va;
	if (this_pcpu()->id)
		return;
	atomic_store(&cached, writable());
	if (!renewed && writable()) {
		renewed = true;
		map(0);
	}
}

static void setup_renewed(void)
{
	setup_cached();
	host_tlb_hook = flush_renewed;
}

static void thread_renewed(unsigned me)
{
	struct mm_ctx c = ctx_begin(mm);
	struct page_info *pi;

	(void)me;
	map(0);
	if (table_get(&c, NAME, 1, &pi))
		litmus_fail("no table");
	table_put(&c, pi);
	map(NAME);
	ctx_end(&c);
	LITMUS_ASSERT(renewed && atomic_load(&cached) && !writable());
	LITMUS_ASSERT(!mm_reap(mm) && !mm_pin(mm, GFN(NAME), 1));
	LITMUS_ASSERT(!atomic_load(&cached));
}

LITMUS(pin_renewed, "pt_rw_renewed", "the same when it was mapped in between", 1, 2, setup_renewed,
       thread_renewed, NULL);

/* Two get the table, one of whom makes it and flushes. */
static void thread_both(unsigned me)
{
	struct mm_ctx c = ctx_begin(mm);

	LITMUS_ASSERT(table_get(&c, NAME, 1, &made[me]) == 0);
	ctx_end(&c);
	if (me) {
		atomic_store_explicit(&over, true, memory_order_release);
		return;
	}
	while (!atomic_load_explicit(&over, memory_order_acquire)) {
		tlb_serve();
		cpu_relax();
	}
}

static void setup_both(void)
{
	setup_cached();
	map(0);
}

static void check_refs_both(void)
{
	LITMUS_ASSERT(made[0] == made[1]);
	LITMUS_ASSERT(PT_REFS(atomic_load(&p2m_rec(mm, NAME)->pt)) == 2);
}

LITMUS(pin_both, "pt_rw_both", "references are kept when PT_RW goes", 2, 2, setup_both, thread_both,
       check_refs_both);

/* ---- records ---- */

#define FAR 40000

static void setup_records(void)
{
	world_memory(2);
	dom = world_domain_of("a", 1, FAR + 64, 64);
	mm = &dom->mm;
}

static void thread_records(unsigned me)
{
	struct gfn_rec *rec = me ? p2m_rec(mm, FAR) : NULL;

	if (!rec)
		rec = p2m_rec_make(mm, FAR);
	LITMUS_ASSERT(p2m_rec_gfn(rec) == FAR);
	LITMUS_ASSERT(atomic_load_explicit(&rec->pt, memory_order_relaxed) == 0);
	LITMUS_ASSERT(p2m_rec(mm, FAR) == rec);
}

LITMUS(records, "p2m_node", "one record for a name, which is whole when it is found", 2, 0,
       setup_records, thread_records, NULL);

/* ---- counts ---- */

static unsigned work;

static void setup_count(void)
{
	setup_records();
	mm_count(mm, MMK_RETIRED, 1);
}

static void thread_count(unsigned me)
{
	if (me) {
		work = 1;
		mm_count(mm, MMK_RETIRED, -1);
	} else if (!mm_sum(mm, MMK_RETIRED)) {
		LITMUS_ASSERT(work == 1);
	}
}

LITMUS(counts, "mm_count", "who sees a count fall sees what was done before", 2, 0, setup_count,
       thread_count, NULL);
