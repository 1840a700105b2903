/* SPDX-License-Identifier: MIT */
/*
 * One vCPU at a time moves pages; `requests` is what makes that enough. Who
 * raises it from 0 works until it has brought it back to 0, and whoever comes
 * meanwhile, an upcall on the same vCPU included, only raises it and leaves.
 */
#include "rt/balloon.h"
#include "core/hc_xylem.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include "rt/mem.h"
#include "rt/role.h"
#include <stdatomic.h>

#define BATCH 256UL
#define NO_MFN ~0UL

/* Pages that are given up, in a stack of pages full of pfns. */
struct chunk {
	struct chunk *below;
	unsigned long n;
	uint32_t pfn[(PAGE_SIZE - 16) / 4];
};
_Static_assert(sizeof(struct chunk) == PAGE_SIZE, "a chunk is a page");

static struct chunk *top;
static _Atomic unsigned long given, wanted, asked, deficit, total_out, total_in;
static _Atomic unsigned long limit = ~0UL; /* what the runtime's own needs leave */
static _Atomic unsigned int requests;
static struct cpu *_Atomic mover;

/* Of the vCPU that moves pages. */
static xen_pfn_t frames[BATCH];
static unsigned long pfns[BATCH];
static struct mmu_update updates[BATCH];

static void push(unsigned long pfn)
{
	if (!top || top->n == ARRAY_LEN(top->pfn)) {
		struct chunk *c = page_alloc();

		c->below = top;
		top = c;
	}
	top->pfn[top->n++] = (uint32_t)pfn;
	atomic_fetch_add(&given, 1);
}

static unsigned long pop(void)
{
	unsigned long pfn = top->pfn[--top->n];

	if (!top->n) {
		struct chunk *c = top;

		top = c->below;
		page_free(c);
	}
	atomic_fetch_sub(&given, 1);
	return pfn;
}

/* Map or unmap pfns[from..to) in the direct map. */
static void remap(unsigned long from, unsigned long to, bool map)
{
	unsigned long n = to - from;
	long rc;

	for (unsigned long i = 0; i < n; i++) {
		unsigned long pfn = pfns[from + i];

		updates[i].ptr = pte_maddr(pt_entry(kernel_l4, (unsigned long)pfn_to_virt(pfn), 1));
		updates[i].val = map ? MK_PTE(pfn_to_mfn(pfn), PTE_KERN | PTE_NX) : 0;
	}
	rc = n ? hc_mmu_update(updates, (unsigned int)n, NULL) : 0;
	if (rc)
		panic("balloon: mmu_update of %lu: %ld", n, rc);
	if (n && !map)
		mmuext_simple(MMUEXT_TLB_FLUSH_ALL, 0);
}

static unsigned long reservation(int cmd, unsigned long n)
{
	struct xen_memory_reservation r = {.nr_extents = n, .domid = DOMID_SELF};
	long rc;

	set_xen_guest_handle(r.extent_start, frames);
	rc = hc_memory(cmd, &r);
	if (rc < 0 || (unsigned long)rc > n)
		panic("balloon: memory_op %d of %lu: %ld", cmd, n, rc);
	return (unsigned long)rc;
}

/* Give up at most `want` pages; how many went. */
static unsigned long inflate(unsigned long want)
{
	unsigned long n = 0, done;

	while (n < want && n < BATCH && page_take(BALLOON_RESERVE, &pfns[n])) {
		frames[n] = pfn_to_mfn(pfns[n]);
		n++;
	}
	if (!n)
		return 0;
	remap(0, n, false);
	done = reservation(XENMEM_decrease_reservation, n);
	remap(done, n, true);
	for (unsigned long i = 0; i < n; i++) {
		if (i >= done) {
			page_give(pfns[i]);
			continue;
		}
		set_p2m(pfns[i], NO_MFN);
		push(pfns[i]);
	}
	atomic_fetch_add(&total_out, done);
	return done;
}

/* Take back at most `want` pages; how many came. */
static unsigned long deflate(unsigned long want)
{
	unsigned long n = want < BATCH ? want : BATCH, done;

	for (unsigned long i = 0; i < n; i++)
		frames[i] = pfns[i] = pop();
	done = reservation(XENMEM_populate_physmap, n);
	for (unsigned long i = 0; i < done; i++)
		set_p2m(pfns[i], frames[i]);
	remap(0, done, true);
	for (unsigned long i = 0; i < n; i++) {
		if (i < done)
			page_give(pfns[i]);
		else
			push(pfns[i]);
	}
	atomic_fetch_add(&total_in, done);
	return done;
}

static unsigned long target(void)
{
	unsigned long most = atomic_load(&limit), own = atomic_load(&asked);
	unsigned long to = atomic_load(&wanted);

	to = own > to ? own : to;
	return to < most ? to : most;
}

static void move(void)
{
	atomic_store(&mover, this_cpu());
	for (;;) {
		unsigned long to = target(), have = atomic_load(&given), done;

		if (to == have)
			break;
		done = to > have ? inflate(to - have) : deflate(have - to);
		if (!done)
			break;
	}
	atomic_store(&mover, NULL);
}

void balloon_adjust(void)
{
	unsigned int seen = atomic_fetch_add(&requests, 1) + 1;

	if (seen != 1)
		return;
	do {
		unsigned long to, have;

		move();
		to = target();
		have = atomic_load(&given);
		atomic_store(&deficit, to > have ? to - have : 0);
	} while (!atomic_compare_exchange_strong(&requests, &seen, 0));
}

bool balloon_relieve(void)
{
	unsigned long have = atomic_load(&given);

	if (!have || atomic_load(&mover) == this_cpu())
		return false;
	atomic_store(&limit, have > BALLOON_RESERVE ? have - BALLOON_RESERVE : 0);
	balloon_adjust();
	return true;
}

void balloon_ask(unsigned long pages)
{
	atomic_store(&limit, ~0UL);
	atomic_store(&asked, pages);
	balloon_adjust();
}

unsigned long balloon_pages(void)
{
	return atomic_load(&given);
}

unsigned long balloon_deficit(void)
{
	return atomic_load(&deficit);
}

void balloon_totals(unsigned long *out, unsigned long *in)
{
	*out = atomic_load(&total_out);
	*in = atomic_load(&total_in);
}

static void follow(uint32_t port, void *arg)
{
	long pages = HC2(arch_7, XYLEM_OP_balloon, 0);

	(void)port;
	(void)arg;
	if (pages < 0)
		panic("balloon target: %ld", pages);
	atomic_store(&limit, ~0UL);
	atomic_store(&wanted, (unsigned long)pages);
	balloon_adjust();
}

void balloon_init(void)
{
	long port;

	/* Another hypervisor, or one of before: then there is no target to follow. */
	if (HC2(arch_7, XYLEM_OP_version, 0) < XYLEM_ABI_VERSION)
		return;
	port = event_bind_virq(VIRQ_ARCH_0, 0);
	if (port < 0)
		panic("bind VIRQ_ARCH_0: %ld", port);
	event_handle((uint32_t)port, follow, NULL);
	event_unmask((uint32_t)port);
	follow((uint32_t)port, NULL);
}
