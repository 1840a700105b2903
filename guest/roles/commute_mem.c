/* SPDX-License-Identifier: MIT */
/* The operations of commute.h on memory: mappings, faults, reservations, page tables. */
#include "roles/commute.h"
#include "roles/mem.h"
#include "rt/hypercall.h"
#include "rt/proc.h"
#include "rt/role.h"

#define LINE_PTES 8
#define BATCH 32
#define KINDS 4	   /* of operations on the common L1, each with lines of its own */
#define FRAMES 512 /* of each side: a whole table without aliases */

/* One L1 for both sides: line 2k + side is for kind k; then BATCH entries per side. */
static pte_t *l1;
static unsigned long first_pfn; /* side s uses first_pfn + 2i + s */
static unsigned int kinds_used[COMMUTE_SIDES];

struct mapping {
	unsigned int entry; /* in the L1 */
	struct mmu_update batch[BATCH];
};

void commute_mem_prepare(void)
{
	uint64_t *pages = pages_alloc(2 * FRAMES);

	first_pfn = virt_to_pfn(pages);
	pt_map(kernel_l4, TEST_BASE, 0);
	l1 = pt_entry(kernel_l4, TEST_BASE, 1);
}

static unsigned long frame_of(const struct side *s, unsigned int i)
{
	return pfn_to_mfn(first_pfn + 2 * (i % FRAMES) + s->id);
}

void *map_init(struct side *s)
{
	struct mapping *m = page_alloc();
	unsigned int kind = kinds_used[s->id]++;

	CHECK(kind < KINDS, "too many operations on one table");
	m->entry = (2 * kind + s->id) * LINE_PTES;
	for (unsigned int i = 0; i < BATCH; i++) {
		unsigned int e = 2 * KINDS * LINE_PTES + s->id * BATCH + i;

		m->batch[i].ptr = pte_maddr(&l1[e]) | MMU_NORMAL_PT_UPDATE;
	}
	return m;
}

/* Even runs map, odd ones clear. */
static pte_t wanted(const struct side *s, unsigned int i)
{
	return i % 2 ? 0 : MK_PTE(frame_of(s, i / 2), PTE_KERN | PTE_NX);
}

void map_run(struct side *s, void *state, unsigned int i)
{
	struct mapping *m = state;

	CHECK_EQ(pt_set(&l1[m->entry + i / 2 % LINE_PTES], wanted(s, i)), 0, "mmu_update");
}

void batch_run(struct side *s, void *state, unsigned int i)
{
	struct mapping *m = state;

	for (unsigned int k = 0; k < BATCH; k++)
		m->batch[k].val = i % 2 ? 0 : MK_PTE(frame_of(s, k), PTE_KERN | PTE_NX);
	CHECK_EQ(hc_mmu_update(m->batch, BATCH, NULL), 0, "mmu_update of 32");
}

void va_run(struct side *s, void *state, unsigned int i)
{
	struct mapping *m = state;
	unsigned long va = TEST_BASE + (m->entry + i / 2 % LINE_PTES) * PAGE_SIZE;

	CHECK_EQ(hc_update_va(va, wanted(s, i), UVMF_INVLPG), 0, "update_va_mapping");
}

/* Both sides' operand is one entry: these do not commute, and the profiler must see it. */
void *same_init(struct side *s)
{
	(void)s;
	return &l1[2 * KINDS * LINE_PTES + COMMUTE_SIDES * BATCH];
}

void same_run(struct side *s, void *state, unsigned int i)
{
	(void)s;
	CHECK_EQ(pt_set(state, i % 2 ? 0 : MK_PTE(pfn_to_mfn(first_pfn), PTE_KERN | PTE_NX)), 0,
		 "mmu_update of the same entry");
}

void store_run(struct side *s, void *state, unsigned int i)
{
	struct mapping *m = state;

	pte_store(&l1[m->entry + i / 2 % LINE_PTES], wanted(s, i), STORE_MOV);
}

/* ---- first touches ---- */

struct fresh {
	volatile uint64_t *page[COMMUTE_RUNS];
};

void *fresh_init(struct side *s)
{
	(void)s;
	return page_alloc();
}

/* Pages never touched; those of one side fill whole lines of the direct map's tables. */
void fault_begin(struct side *s, void *state)
{
	static unsigned long hoard[COMMUTE_SIDES][LINE_PTES * 256];
	static unsigned int hoarded[COMMUTE_SIDES];
	static bool busy;
	struct fresh *f = state;

	while (__atomic_exchange_n(&busy, true, __ATOMIC_ACQUIRE))
		cpu_relax();
	while (hoarded[s->id] < COMMUTE_RUNS) {
		unsigned int owner;
		unsigned long pfn;

		CHECK(page_take(0, &pfn), "no fresh pages left");
		owner = commute_two ? s->id : pfn / LINE_PTES % COMMUTE_SIDES;
		CHECK(hoarded[owner] < ARRAY_LEN(hoard[owner]), "too many pages of one side");
		hoard[owner][hoarded[owner]++] = pfn;
	}
	for (unsigned int i = 0; i < COMMUTE_RUNS; i++)
		f->page[i] = pfn_to_virt(hoard[s->id][--hoarded[s->id]]);
	__atomic_store_n(&busy, false, __ATOMIC_RELEASE);
}

void cow_begin(struct side *s, void *state)
{
	struct fresh *f = state;

	fault_begin(s, state);
	for (unsigned int i = 0; i < COMMUTE_RUNS; i++)
		CHECK_EQ(f->page[i][0], 0, "a fresh page");
}

void fault_run(struct side *s, void *state, unsigned int i)
{
	struct fresh *f = state;

	(void)s;
	f->page[i][0] = i + 1;
}

/* ---- reservations ---- */

struct reserve {
	unsigned long pfn;
	xen_pfn_t list[1];
};

void *reserve_init(struct side *s)
{
	struct reserve *r = page_alloc();
	static unsigned long first;

	/* Eight pages for each side: a whole line of the direct map's table. */
	if (!first)
		first = ALIGN_UP(virt_to_pfn(pages_alloc(3 * LINE_PTES)), LINE_PTES);
	r->pfn = first + s->id * LINE_PTES;
	return r;
}

/* Even runs give a page up, odd ones take it back. */
void reserve_run(struct side *s, void *state, unsigned int i)
{
	struct reserve *r = state;
	struct xen_memory_reservation m = {.nr_extents = 1, .domid = DOMID_SELF};

	(void)s;
	r->list[0] = r->pfn + i / 2 % LINE_PTES;
	set_xen_guest_handle(m.extent_start, r->list);
	CHECK_EQ(hc_memory(i % 2 ? XENMEM_populate_physmap : XENMEM_decrease_reservation, &m), 1,
		 "reservation");
}

/* ---- page tables ---- */

static pte_t *private_l1(struct side *s, unsigned int entries)
{
	pte_t *t = page_alloc();

	for (unsigned int i = 0; i < entries; i++)
		t[i] = MK_PTE(frame_of(s, i), PTE_KERN | PTE_NX);
	page_make_ro(t);
	return t;
}

void *pin_init(struct side *s)
{
	return private_l1(s, 0);
}

void *pin_full_init(struct side *s)
{
	return private_l1(s, 512);
}

void pin_run(struct side *s, void *state, unsigned int i)
{
	unsigned long pfn = virt_to_pfn(state);

	(void)s;
	CHECK_EQ(i % 2 ? mmuext_unpin(pfn) : mmuext_pin(1, pfn), 0, "pin and unpin");
}

struct bases {
	struct proc *p[2];
};

void *base_init(struct side *s)
{
	struct bases *b = page_alloc();

	(void)s;
	b->p[0] = proc_create(0, 0);
	b->p[1] = proc_create(0, 0);
	return b;
}

void base_run(struct side *s, void *state, unsigned int i)
{
	struct bases *b = state;

	(void)s;
	CHECK_EQ(mmuext_simple(MMUEXT_NEW_BASEPTR, pfn_to_mfn(b->p[i % 2]->kernel_l4)), 0,
		 "new base pointer");
}

void base_end(struct side *s, void *state)
{
	(void)s;
	(void)state;
	CHECK_EQ(mmuext_simple(MMUEXT_NEW_BASEPTR, pfn_to_mfn(kernel_l4)), 0, "old base pointer");
}
