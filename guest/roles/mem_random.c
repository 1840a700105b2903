/* SPDX-License-Identifier: MIT */
/*
 * Random changes of mappings against a model. Each vCPU has its own window
 * of pages and its own frames; the tables above are shared.
 */
#include "roles/mem.h"
#include "rt/hypercall.h"
#include "rt/role.h"
#include "rt/smp.h"
#include "rt/trap.h"

#define WINDOW 32 /* pages */
#define FRAMES 16
#define BATCH 8

struct slot {
	int frame; /* -1: not mapped */
	bool rw;
};

struct model {
	unsigned long base;
	uint64_t rng;
	uint64_t *frame[FRAMES];
	uint64_t tag[FRAMES];
	struct slot slot[WINDOW];
	pte_t *entry[WINDOW];
	unsigned long count[16];
};

/* Own generator per vCPU, so that a seed repeats the run whatever the timing. */
static unsigned int pick(struct model *m, unsigned int n)
{
	m->rng = m->rng * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned int)(m->rng >> 33) % n;
}

static pte_t make(struct model *m, struct slot s)
{
	static const pte_t flags[] = {PTE_A | PTE_D, PTE_A, PTE_D, 0};

	if (s.frame < 0)
		return 0;
	return MK_PTE(virt_to_mfn(m->frame[s.frame]),
		      PTE_P | PTE_NX | (s.rw ? PTE_RW : 0) | flags[pick(m, 4)]);
}

static struct slot random_slot(struct model *m)
{
	struct slot s = {(int)pick(m, FRAMES + 4) - 4, pick(m, 2)};

	if (s.frame < 0)
		s = (struct slot){-1, false};
	return s;
}

static void verify(struct model *m, unsigned int i)
{
	struct slot s = m->slot[i];
	unsigned int word = pick(m, 512);
	volatile uint64_t *p = (uint64_t *)(m->base + i * PAGE_SIZE) + word;
	struct trap_record *t = &this_cpu()->trap;
	uint64_t v;
	unsigned long st = probe_read(p, &v);

	if (s.frame < 0) {
		CHECK_EQ(st, FAULT(TRAP_PF), "read of an unmapped page");
		CHECK_EQ(t->err, 0, "error code, not present");
		CHECK_EQ(t->cr2, p, "CR2");
		return;
	}
	CHECK_EQ(st, 0, "read of a mapped page");
	CHECK_EQ(v, m->tag[s.frame] + word, "content");
	CHECK(*(volatile pte_t *)m->entry[i] & PTE_A, "accessed bit after a read");
	CHECK_EQ(PTE_MFN(*m->entry[i]), virt_to_mfn(m->frame[s.frame]), "frame in the entry");
	st = probe_write(p, ~v);
	if (!s.rw) {
		CHECK_EQ(st, FAULT(TRAP_PF), "write to a read-only page");
		CHECK_EQ(t->err, PF_PROT | PF_WRITE, "error code, read-only");
		CHECK_EQ(m->frame[s.frame][word], v, "content after a refused write");
		return;
	}
	CHECK_EQ(st, 0, "write to a writable page");
	CHECK_EQ(m->frame[s.frame][word], ~v, "write through the mapping");
	CHECK(*(volatile pte_t *)m->entry[i] & PTE_D, "dirty bit after a write");
	m->frame[s.frame][word] = v;
	CHECK_EQ(*p, v, "write to the frame, read by the mapping");
}

static void one_update_va(struct model *m, unsigned int i, struct slot s)
{
	CHECK_EQ(hc_update_va(m->base + i * PAGE_SIZE, make(m, s),
			      pick(m, 2) ? UVMF_INVLPG : UVMF_TLB_FLUSH),
		 0, "update_va_mapping");
	m->slot[i] = s;
}

static void one_mmu_update(struct model *m, unsigned int i, struct slot s)
{
	struct mmu_update u = {
		.ptr = pte_maddr(m->entry[i]) |
		       (pick(m, 2) ? MMU_NORMAL_PT_UPDATE : MMU_PT_UPDATE_PRESERVE_AD),
		.val = make(m, s),
	};
	unsigned int done = 77;

	CHECK_EQ(hc_mmu_update(&u, 1, &done), 0, "mmu_update");
	CHECK_EQ(done, 1, "mmu_update's count");
	invlpg(m->base + i * PAGE_SIZE);
	m->slot[i] = s;
}

static void batch_mmu_update(struct model *m)
{
	struct mmu_update u[BATCH];
	unsigned int done = 0, n = pick(m, BATCH) + 1;

	for (unsigned int k = 0; k < n; k++) {
		unsigned int i = pick(m, WINDOW);
		struct slot s = random_slot(m);

		u[k].ptr = pte_maddr(m->entry[i]);
		u[k].val = make(m, s);
		m->slot[i] = s;
	}
	CHECK_EQ(hc_mmu_update(u, n, &done), 0, "batch of mmu_update");
	CHECK_EQ(done, n, "batch's count");
	mmuext_simple(MMUEXT_TLB_FLUSH_LOCAL, 0);
}

static void batch_multicall(struct model *m)
{
	struct multicall_entry e[BATCH + 1];
	struct mmuext_op flush = {.cmd = MMUEXT_TLB_FLUSH_LOCAL};
	unsigned int n = pick(m, BATCH) + 1;

	memset(e, 0, sizeof(e));
	for (unsigned int k = 0; k < n; k++) {
		unsigned int i = pick(m, WINDOW);
		struct slot s = random_slot(m);

		e[k].op = __HYPERVISOR_update_va_mapping;
		e[k].args[0] = m->base + i * PAGE_SIZE;
		e[k].args[1] = make(m, s);
		e[k].args[2] = UVMF_NONE;
		m->slot[i] = s;
	}
	e[n].op = __HYPERVISOR_mmuext_op;
	e[n].args[0] = (unsigned long)&flush;
	e[n].args[1] = 1;
	e[n].args[3] = DOMID_SELF;
	CHECK_EQ(hc_multicall(e, n + 1), 0, "multicall");
	for (unsigned int k = 0; k <= n; k++)
		CHECK_EQ(e[k].result, 0, "multicall entry");
}

static void trapped(struct model *m, unsigned int i, struct slot s)
{
	enum pte_store how = pick(m, NR_STORES);

	if (how == STORE_BTR || how == STORE_ANDB) {
		s = m->slot[i];
		s.rw = false;
	} else if (how == STORE_IMM0) {
		s = (struct slot){-1, false};
	}
	pte_store(m->entry[i], make(m, s), how);
	invlpg(m->base + i * PAGE_SIZE);
	m->slot[i] = s;
}

static void step(struct model *m)
{
	unsigned int i = pick(m, WINDOW), what = pick(m, 8);
	struct slot s = random_slot(m);

	m->count[what]++;
	switch (what) {
	case 0:
		one_update_va(m, i, s);
		break;
	case 1:
		one_mmu_update(m, i, s);
		break;
	case 2:
		batch_mmu_update(m);
		break;
	case 3:
		batch_multicall(m);
		break;
	case 4:
	case 5:
		trapped(m, i, s);
		break;
	case 6: /* protection only */
		if (m->slot[i].frame < 0)
			break;
		s = m->slot[i];
		s.rw = !s.rw;
		one_mmu_update(m, i, s);
		break;
	default: { /* new content, seen by every mapping at once */
		unsigned int f = pick(m, FRAMES);

		m->tag[f] = (uint64_t)pick(m, 1u << 31) << 20;
		for (unsigned int w = 0; w < 512; w++)
			m->frame[f][w] = m->tag[f] + w;
	}
	}
	verify(m, i);
	verify(m, pick(m, WINDOW));
}

static uint64_t run_seed;
static unsigned long run_steps;

static void exercise(void *arg)
{
	struct model *m = page_alloc();
	unsigned int id = this_cpu()->id;

	(void)arg;
	_Static_assert(sizeof(*m) <= PAGE_SIZE, "model in a page");
	m->base = TEST_BASE + 0x40000000UL + id * 0x200000UL;
	m->rng = run_seed + id * 0x9e3779b97f4a7c15ULL;
	for (unsigned int f = 0; f < FRAMES; f++) {
		m->frame[f] = page_alloc();
		m->tag[f] = (uint64_t)(id * FRAMES + f + 1) << 32;
		for (unsigned int w = 0; w < 512; w++)
			m->frame[f][w] = m->tag[f] + w;
	}
	for (unsigned int i = 0; i < WINDOW; i++) {
		m->slot[i].frame = -1;
		m->entry[i] = pt_entry(kernel_l4, m->base + i * PAGE_SIZE, 1);
		CHECK(m->entry[i], "no table for the window");
	}
	for (unsigned long n = 0; n < run_steps; n++)
		step(m);
	for (unsigned int i = 0; i < WINDOW; i++) {
		verify(m, i);
		CHECK_EQ(hc_update_va(m->base + i * PAGE_SIZE, 0, UVMF_INVLPG), 0, "clean up");
	}
	for (unsigned int f = 0; f < FRAMES; f++)
		page_free(m->frame[f]);
	page_free(m);
}

void mem_random(unsigned long steps)
{
	run_seed = rnd();
	run_steps = steps;
	/* Tables are made by one vCPU; entries are then changed by all at once. */
	for (unsigned int i = 0; i < nr_cpus; i++)
		pt_map(kernel_l4, TEST_BASE + 0x40000000UL + i * 0x200000UL, 0);
	smp_call_all(exercise, NULL);
	printf("mini: mem random ok steps=%lu on %u vcpus\n", steps, nr_cpus);
}
