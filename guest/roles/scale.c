/* SPDX-License-Identifier: MIT */
/*
 * The same independent work on every vCPU at once, in windows that the profiler sees (rt/mark.h): what
 * ./xylem bench scale boots, as one domain with many vCPUs or as many domains with one. All go by the
 * system's time: operation k has the time from from_ms + k * slot_us on.
 *
 * Other arguments: `record=1` this domain's vCPU 0 has the profiler write its records.
 */
#include "roles/roles.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include "rt/mark.h"
#include "rt/mem.h"
#include "rt/role.h"
#include "rt/smp.h"
#include "rt/time.h"

#define RUNS 128
#define WARM 32 /* runs before the window */
#define BATCH 32
#define TURNS (RUNS + WARM)
#define LINE_PTES 8
#define WORDS_PER_LINE 16  /* FIFO event words */
#define SOON_NS 2000000ULL /* before any timer of the hypervisor's own */

/* A vCPU's operands; in pages of its own. */
struct work {
	pte_t *l1;
	unsigned long first_pfn;
	uint32_t port;
	volatile uint64_t *fresh[2 * TURNS]; /* never touched */
	unsigned int used;
	struct mmu_update batch[BATCH];
};

struct scale_op {
	const char *name;
	unsigned int per; /* operations in one run */
	void (*begin)(struct work *w);
	void (*run)(struct work *w, unsigned int i);
	void (*end)(struct work *w);
};

static struct work *works[MAX_VCPUS];

static void version_run(struct work *w, unsigned int i)
{
	(void)w, (void)i;
	hc_version(XENVER_version, NULL);
}

/* Even runs map, odd ones clear. */
static pte_t wanted(struct work *w, unsigned int i, unsigned int k)
{
	return i % 2 ? 0 : MK_PTE(pfn_to_mfn(w->first_pfn + k), PTE_KERN | PTE_NX);
}

static void map_run(struct work *w, unsigned int i)
{
	/* All pages: what one costs differs from page to page. */
	unsigned int k = i / 2 % BATCH;

	CHECK_EQ(pt_set(&w->l1[k], wanted(w, i, k)), 0, "mmu_update");
}

static void batch_run(struct work *w, unsigned int i)
{
	for (unsigned int k = 0; k < BATCH; k++)
		w->batch[k].val = wanted(w, i, k);
	CHECK_EQ(hc_mmu_update(w->batch, BATCH, NULL), 0, "mmu_update of 32");
}

static void send_run(struct work *w, unsigned int i)
{
	(void)i;
	CHECK_EQ(event_send(w->port), 0, "send");
}

static void timer_run(struct work *w, unsigned int i)
{
	(void)w;
	CHECK_EQ(HC1(set_timer_op, time_ns() + SOON_NS + i * 1000), 0, "set_timer_op");
}

static void timer_end(struct work *w)
{
	(void)w;
	HC1(set_timer_op, 0);
}

static void yield_run(struct work *w, unsigned int i)
{
	(void)w, (void)i;
	CHECK_EQ(hc_sched(SCHEDOP_yield, NULL), 0, "yield");
}

static void flush_run(struct work *w, unsigned int i)
{
	(void)w;
	CHECK_EQ(mmuext_simple(i % 2 ? MMUEXT_INVLPG_LOCAL : MMUEXT_TLB_FLUSH_LOCAL, TEST_BASE), 0,
		 "flush");
}

/* The first write to a page gives it a frame. */
static void touch_run(struct work *w, unsigned int i)
{
	w->fresh[w->used++][0] = i + 1;
}

/* Read first: then it shares the frame of zeros, and the first write breaks the share. */
static void break_begin(struct work *w)
{
	for (unsigned int i = 0; i < TURNS; i++)
		CHECK_EQ(w->fresh[w->used + i][0], 0, "a fresh page");
}

/* A page goes, and comes back. */
static void reserve_run(struct work *w, unsigned int i)
{
	xen_pfn_t list[1] = {w->first_pfn + i / 2 % LINE_PTES};
	struct xen_memory_reservation m = {.nr_extents = 1, .domid = DOMID_SELF};

	set_xen_guest_handle(m.extent_start, list);
	CHECK_EQ(hc_memory(i % 2 ? XENMEM_populate_physmap : XENMEM_decrease_reservation, &m), 1,
		 "reservation");
}

/* Not independent: all send to the same port. What it costs shows that the profiler sees it. */
static void common_run(struct work *w, unsigned int i)
{
	(void)w, (void)i;
	CHECK_EQ(event_send(works[0]->port), 0, "send to all's port");
}

static const struct scale_op ops[] = {
	{"xen_version", 1, NULL, version_run, NULL},
	{"mmu_update", 1, NULL, map_run, NULL},
	{"mmu_update x32", BATCH, NULL, batch_run, NULL},
	{"tlb flush", 1, NULL, flush_run, NULL},
	{"event send", 1, NULL, send_run, NULL},
	{"set_timer", 1, NULL, timer_run, timer_end},
	{"yield", 1, NULL, yield_run, NULL},
	{"first touch", 1, NULL, touch_run, NULL},
	{"share break", 1, break_begin, touch_run, NULL},
	{"decrease, populate", 1, NULL, reserve_run, NULL},
	{"event send, one port", 1, NULL, common_run, NULL},
};

static void got_event(uint32_t port, void *arg)
{
	(void)port, (void)arg;
}

/* One vCPU after the other, so that each one's pages follow each other. */
static void prepare(void *arg)
{
	unsigned int id = this_cpu()->id;
	unsigned long va = TEST_BASE + id * 512 * PAGE_SIZE, pfn;
	struct work *w = pages_alloc((sizeof(*w) + PAGE_SIZE - 1) / PAGE_SIZE);
	long port;

	(void)arg;
	pt_map(kernel_l4, va, 0);
	w->l1 = pt_entry(kernel_l4, va, 1);
	w->first_pfn = virt_to_pfn(pages_alloc(BATCH));
	for (unsigned int i = 0; i < BATCH; i++)
		w->batch[i].ptr = pte_maddr(&w->l1[i]) | MMU_NORMAL_PT_UPDATE;
	do { /* an event word in a line of its own */
		port = event_bind_ipi(id);
		CHECK(port > 0, "bind IPI: %ld", port);
	} while (port % WORDS_PER_LINE);
	w->port = (uint32_t)port;
	event_handle(w->port, got_event, NULL);
	event_unmask(w->port);
	/* Whole lines of the direct map's entries. */
	do
		CHECK(page_take(0, &pfn), "no fresh page left");
	while (pfn % LINE_PTES);
	for (unsigned int i = 0; i < 2 * TURNS; i++) {
		w->fresh[i] = pfn_to_virt(pfn);
		CHECK(page_take(0, &pfn), "no fresh page left");
	}
	works[id] = w;
}

static void work_all(void *arg)
{
	uint64_t start = arg_num("from_ms", 1000) * 1000000, slot = arg_num("slot_us", 4000) * 1000;
	struct work *w = works[this_cpu()->id];
	bool record = !this_cpu()->id && arg_num("record", 0);

	(void)arg;
	CHECK(time_ns() < start, "from_ms is too early: it is %lu", time_ns());
	for (unsigned int k = 0; k < ARRAY_LEN(ops); k++, start += slot) {
		const struct scale_op *op = &ops[k];
		unsigned int i = 0;

		sleep_until(start);
		if (op->begin)
			op->begin(w);
		/* Warm, all at once, with time to spare: then the windows overlap. */
		for (; i < WARM; i++)
			op->run(w, i);
		sleep_until(start + slot / 2);
		mark_open(k);
		for (; i < TURNS; i++)
			op->run(w, i);
		mark_close(k);
		if (op->end)
			op->end(w);
		CHECK(time_ns() < start + slot - slot / 8, "slot_us is too short for %s", op->name);
		if (record) {
			sleep_until(start + slot - slot / 8);
			mark_record(k);
		}
	}
}

void role_scale(void)
{
	smp_up_all();
	prepare(NULL);
	for (unsigned int i = 1; i < nr_cpus; i++) {
		smp_call(i, prepare, NULL);
		smp_wait(i);
	}
	if (arg_num("record", 0))
		for (unsigned int k = 0; k < ARRAY_LEN(ops); k++)
			printf("scale: op %u %u %u %s\n", k, RUNS, ops[k].per, ops[k].name);
	mark_forget();
	smp_call_all(work_all, NULL);
	role_pass("vcpus=%u", nr_cpus);
}
