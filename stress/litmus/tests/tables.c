/* SPDX-License-Identifier: MIT */
/* memsvc/: page tables that are filled with what the guest's has; frames that become tables. */
#include "memsvc/name_impl.h"
#include "stress/litmus/tests/names.h"

#define TABLE2 (TABLE + 1)

/* The page @gfn, no page table yet, maps NAME. */
static void prepare(uint64_t gfn)
{
	_Atomic uint64_t *gpt = arch_mfn_to_virt(mm_gfn_to_mfn(mm, GFN(gfn)));

	atomic_store(&gpt[at], (uint64_t)NAME << PAGE_SHIFT | FLAGS);
}

static void setup_unpinned(void)
{
	setup(2);
	if (mm_unpin(mm, GFN(TABLE)) || mm_reap(mm))
		litmus_fail("not unpinned");
	table = NULL; /* its frame will be another's */
	world_settle();
}

static void setup_fill(void)
{
	setup_unpinned();
	prepare(TABLE);
	prepare(TABLE2);
}

static unsigned slots(void)
{
	struct gfn_rec *rec = p2m_rec(mm, NAME);
	unsigned n = 0;

	for (unsigned i = 0; i < RMAP_INLINE; i++)
		n += atomic_load(&rec->slot[i]) != 0;
	return n;
}

/* ---- a table is filled while a name in it is given up ---- */

static void thread_fill_decrease(unsigned me)
{
	if (me)
		mm_pin(mm, GFN(TABLE), 1);
	else
		LITMUS_ASSERT(mm_decrease(mm, GFN(NAME)) == 0);
}

static void check_fill_decrease(void)
{
	table = pt_of(p2m_rec(mm, TABLE));
	LITMUS_ASSERT(!table || !(hw() & PTE_P));
	LITMUS_ASSERT(!slots());
}

LITMUS(fill_decrease, "p2m_sync_fill", "a new table has no entry for a name that was given up", 2,
       2, setup_fill, thread_fill_decrease, check_fill_decrease);

/* ---- two tables that are filled with the same name ---- */

static void thread_fill_two(unsigned me)
{
	LITMUS_ASSERT(mm_pin(mm, GFN(me ? TABLE2 : TABLE), 1) == 0);
}

static void check_fill_two(void)
{
	table = pt_of(p2m_rec(mm, TABLE));
	LITMUS_ASSERT(hw() & HW_SLOT);
	table = pt_of(p2m_rec(mm, TABLE2));
	LITMUS_ASSERT(hw() & HW_SLOT);
	LITMUS_ASSERT(slots() == 2);
}

LITMUS(fill_two, "p2m_change_fill", "each entry of new tables is recorded for its name", 2, 2,
       setup_fill, thread_fill_two, check_fill_two);

/* ---- a table goes while it is filled ---- */

static void setup_fill_detach(void)
{
	struct mm_ctx c;

	setup_fill();
	c = ctx_begin(mm);
	if (table_get(&c, TABLE, 1, &table))
		litmus_fail("no table");
	ctx_end(&c);
}

/* 0 lets go what an upper table's entry had found for 1. */
static void thread_fill_detach(unsigned me)
{
	struct mm_ctx c = ctx_begin(mm);

	if (me)
		table_fill(&c, table);
	else
		table_put(&c, table);
	ctx_end(&c);
	if (!me)
		LITMUS_ASSERT(mm_reap(mm) == 0);
}

static void check_fill_detach(void)
{
	LITMUS_ASSERT(!hw());
	LITMUS_ASSERT(!slots());
}

LITMUS(fill_detach, "pt_detach_fill", "nothing is filled in a table that is no longer one", 2, 2,
       setup_fill_detach, thread_fill_detach, check_fill_detach);

/* ---- a frame goes over to another use ---- */

static struct page_info *other;
static uint64_t (*use)(void); /* of the first free frame: its mfn */

static void setup_use(uint64_t (*what)(void))
{
	setup_unpinned();
	other = page_of(page_alloc(0));
	frame_become_private(mm, other, p2m_rec(mm, NAME));
	use = what;
}

/* 0 frees a name's frame and uses it, 1 is a scanner that looks whose it is. */
static void thread_use(unsigned me)
{
	const uint64_t none = UINT64_MAX;
	uint64_t word = none;
	struct mm *its;
	gfn_t gfn;

	if (!me) {
		page_free(mfn_of(other));
		LITMUS_ASSERT(use() == mfn_of(other).v);
		return;
	}
	/* What it has taken for a record was that of the name. */
	LITMUS_ASSERT(!name_of_frame(mfn_of(other), &its, &gfn, &word));
	LITMUS_ASSERT(word == none || word == atomic_load(&p2m_rec(mm, NAME)->word));
}

static uint64_t use_table(void)
{
	struct mm_ctx c = ctx_begin(mm);

	LITMUS_ASSERT(table_get(&c, TABLE, 1, &table) == 0);
	return mfn_of(table).v;
}

static void setup_use_table(void)
{
	setup_use(use_table);
}

LITMUS(frame_to_table, "frame_rec_table", "a page table is not taken for a name's frame", 2, 3,
       setup_use_table, thread_use, NULL);

static uint64_t use_meta(void)
{
	return arch_virt_to_mfn(p2m_meta_page(mm, 0)).v;
}

static void setup_use_meta(void)
{
	setup_use(use_meta);
}

LITMUS(frame_to_meta, "frame_rec_meta", "nor is a page of records", 2, 3, setup_use_meta,
       thread_use, NULL);
