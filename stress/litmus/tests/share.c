/* SPDX-License-Identifier: MIT */
/* memsvc/: guarding a page against its writers, references to shared frames, the sharing table. */
#include "memsvc/name.h"
#include "memsvc/p2m.h"
#include "memsvc/share_table.h"
#include "stress/litmus/tests/world.h"

#define NAME 20

static struct domain *dom;
static struct mm *mm;
static struct page_info *page;
static _Atomic uint64_t *content;

static void setup(void)
{
	world_memory(3);
	dom = world_domain("a", 1, 32);
	mm = &dom->mm;
	world_settle();
	page = page_of(mm_gfn_to_mfn(mm, GFN(NAME)));
	content = arch_mfn_to_virt(mfn_of(page));
}

/* ---- guard ---- */

static struct {
	struct rcu_head head;
	uint64_t word;
} guard;

static void settle(struct rcu_head *h)
{
	(void)h;
	name_settle(mm, GFN(NAME), guard.word);
}

/* 0 guards and settles, 1 is the hypervisor that writes for the guest, 2 looks. */
static void thread_guard(unsigned me)
{
	mfn_t m;
	uint64_t word, x;

	if (me == 0) {
		guard.word = name_guard(mm, GFN(NAME));
		if (!guard.word)
			return;
		call_rcu_hurry(&guard.head, settle);
		rcu_poll();
		while (rcu_pending()) {
			cpu_relax();
			rcu_poll();
		}
		return;
	}
	if (me == 1) {
		m = mm_gfn_get_writable(mm, GFN(NAME));
		atomic_store_explicit((_Atomic uint64_t *)arch_mfn_to_virt(m), 1,
				      memory_order_relaxed);
		rcu_thread_offline();
		return;
	}
	rcu_thread_online();
	word = name_settled_word(mm, GFN(NAME));
	if (word) {
		x = atomic_load_explicit(content, memory_order_relaxed);
		if (name_is(mm, GFN(NAME), word))
			LITMUS_ASSERT(x == atomic_load_explicit(content, memory_order_relaxed));
	}
	rcu_thread_offline();
}

/* Who looks comes later, so that nobody waits for him. */
static void setup_guard(void)
{
	setup();
	host_become(2);
	rcu_thread_offline();
	host_become(0);
}

LITMUS(guarding, "guard", "nobody writes a page once its guard has settled", 3, 2, setup_guard,
       thread_guard, NULL);

/* ---- references ---- */

static bool got;

static void setup_refs(void)
{
	setup();
	guard.word = name_guard(mm, GFN(NAME));
	if (!guard.word || !name_settle(mm, GFN(NAME), guard.word) ||
	    !name_promote(mm, GFN(NAME), guard.word))
		litmus_fail("not shared");
	world_settle();
	host_become(2);
	rcu_thread_offline();
	host_become(0);
}

/* 0 drops the last reference, 1 asks for one. */
static void thread_refs(unsigned me)
{
	if (me == 0) {
		share_put(mfn_of(page), p2m_rec(mm, NAME));
		rcu_poll();
		while (rcu_pending()) {
			cpu_relax();
			rcu_poll();
		}
		return;
	}
	if (page_type(page) == PG_SHARED)
		got = share_get(mfn_of(page));
	if (got)
		LITMUS_ASSERT(page_type(page) == PG_SHARED);
	rcu_thread_offline();
}

static void check_refs(void)
{
	LITMUS_ASSERT(got == (page_type(page) == PG_SHARED));
}

LITMUS(refs, "share_refs", "a frame is freed with its last reference, and only then", 2, 3,
       setup_refs, thread_refs, check_refs);

/* ---- the table ---- */

#define HASH 0x123456789abcdefULL

static mfn_t other;

static void setup_table(void)
{
	setup();
	other = mm_gfn_to_mfn(mm, GFN(NAME + 1));
	if (share_table_init(WORLD_FRAMES))
		litmus_fail("no table");
}

static bool find(mfn_t f)
{
	struct share_look l;
	mfn_t x;

	share_look_start(&l, HASH);
	while (share_look_next(&l, &x))
		if (x.v == f.v)
			return true;
	return false;
}

static void thread_table(unsigned me)
{
	mfn_t f = mfn_of(page);

	if (me == 0) {
		atomic_store_explicit(&page->dom.hash, HASH, memory_order_relaxed);
		LITMUS_ASSERT(share_table_insert(HASH, f, false));
		LITMUS_ASSERT(share_table_insert(HASH, f, true));
		LITMUS_ASSERT(find(f));
	} else if (me == 1 && find(f)) {
		LITMUS_ASSERT(atomic_load_explicit(&page->dom.hash, memory_order_relaxed) == HASH);
		share_table_remove(HASH, f);
	} else if (me == 2) {
		LITMUS_ASSERT(share_table_insert(HASH, other, true));
	}
}

static void check_table(void)
{
	LITMUS_ASSERT(find(mfn_of(page)));
	LITMUS_ASSERT(find(other));
	LITMUS_ASSERT(share_table_entries(true) == 2);
}

LITMUS(share_entries, "share_table", "the entry of a shared frame is found, with its hash", 3, 2,
       setup_table, thread_table, check_table);
