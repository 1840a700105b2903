/* SPDX-License-Identifier: MIT */
/*
 * Hypercall fuzzing on all vCPUs at once, from a seed: half of the calls have arguments of any kind
 * (evil_hypercalls.c), half are put together from what the guest really has, its frames, tables,
 * ports and vCPUs, with something wrong in them now and then. What each vCPU does follows from the
 * seed alone, so a run can be repeated; `stream` at the end says that it was the same.
 *
 * The pages that structured calls touch are a vCPU's own, so that the guest survives whatever it
 * is granted.
 */
#include "roles/evil.h"
#include "roles/roles.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include "rt/mem.h"
#include "rt/role.h"
#include "rt/smp.h"
#include "rt/time.h"
#include "rt/trap.h"
#include <stdatomic.h>

#define WINDOW 16 /* pages of each vCPU's own, and entries to map them at */
#define PORTS 16
#define ERRNOS 128
#define WINDOW_BASE (TEST_BASE + 0x100000000UL)

struct fuzz {
	unsigned long va; /* of the window */
	unsigned char *page[WINDOW];
	bool gone[WINDOW]; /* given back; no mapping of it may be made */
	pte_t *entry[WINDOW];
	pte_t *table; /* a page table of its own, pinned or not */
	uint32_t port[PORTS];
	union {
		struct mmu_update u[8];
		struct mmuext_op x[8];
		struct multicall_entry m[8];
		xen_pfn_t gfn[8];
	} op;
	unsigned int done;
	unsigned long made, ok, other, faults, err[ERRNOS];
	uint64_t stream;
};

static struct fuzz *fuzzers[MAX_VCPUS];
static unsigned long iters;
static bool trace;

static bool rarely(void)
{
	return rnd() % 8 == 0;
}

static uint64_t any(void)
{
	switch (rnd() % 5) {
	case 0:
		return rnd() % 16;
	case 1:
		return ~0UL - rnd() % 16;
	case 2:
		return 1UL << rnd() % 64;
	case 3:
		return HYPERVISOR_VIRT_START + (rnd() & 0xffffffffffUL);
	default:
		return rnd();
	}
}

static unsigned long any_mfn(struct fuzz *f)
{
	unsigned int i = (unsigned int)(rnd() % WINDOW);

	if (rarely())
		return NO_MFN + rnd() % 16;
	return rarely() || f->gone[i] ? rnd() % 16 : virt_to_mfn(f->page[i]);
}

static pte_t any_pte(struct fuzz *f)
{
	static const pte_t odd[] = {PTE_PSE, PTE_US, PTE_NX, 1UL << 51, 1UL << 8, 0x18};
	pte_t pte = rnd() % 4 ? PTE_P | (rnd() & (PTE_RW | PTE_A | PTE_D)) : 0;

	if (rarely())
		pte |= odd[rnd() % ARRAY_LEN(odd)];
	return pte ? MK_PTE(any_mfn(f), pte) : 0;
}

static long fuzz_mmu_update(struct fuzz *f)
{
	unsigned int n = (unsigned int)(rnd() % 8) + 1;

	for (unsigned int i = 0; i < n; i++) {
		f->op.u[i].ptr = pte_maddr(f->entry[rnd() % WINDOW]) | rnd() % 4;
		f->op.u[i].val = any_pte(f);
		if ((f->op.u[i].ptr & 3) == MMU_MACHPHYS_UPDATE)
			f->op.u[i].ptr = (NO_MFN << PAGE_SHIFT) | MMU_MACHPHYS_UPDATE;
		if (rarely())
			f->op.u[i].ptr = (NO_MFN + rnd() % 16) << PAGE_SHIFT | (rnd() & 0xfff);
	}
	return HC4(mmu_update, rarely() ? (void *)any() : f->op.u, n, rnd() % 2 ? &f->done : NULL,
		   rarely() ? any() : DOMID_SELF);
}

static long fuzz_update_va(struct fuzz *f)
{
	unsigned long va = f->va + rnd() % WINDOW * PAGE_SIZE;

	if (rarely())
		va = rnd() % 2 ? HYPERVISOR_VIRT_START + (rnd() & 0x3ffffffff000)
			       : f->va + (rnd() & 0x3fffff000) + 0x40000000;
	return hc_update_va(va, any_pte(f), rarely() ? any() : rnd() % 8);
}

static long fuzz_mmuext(struct fuzz *f)
{
	static const unsigned int cmds[] = {
		MMUEXT_PIN_L1_TABLE, MMUEXT_UNPIN_TABLE,    MMUEXT_TLB_FLUSH_LOCAL,
		MMUEXT_INVLPG_LOCAL, MMUEXT_TLB_FLUSH_ALL,  MMUEXT_INVLPG_ALL,
		MMUEXT_FLUSH_CACHE,  MMUEXT_PIN_L4_TABLE,   MMUEXT_CLEAR_PAGE,
		MMUEXT_COPY_PAGE,    MMUEXT_TLB_FLUSH_MULTI};
	unsigned int n = (unsigned int)(rnd() % 4) + 1;

	for (unsigned int i = 0; i < n; i++) {
		struct mmuext_op *x = &f->op.x[i];

		memset(x, 0, sizeof(*x));
		x->cmd = rarely() ? 20 + rnd() % 100 : cmds[rnd() % ARRAY_LEN(cmds)];
		x->arg1.mfn = rnd() % 2 ? virt_to_mfn(f->table) : any_mfn(f);
		if (x->cmd == MMUEXT_CLEAR_PAGE || x->cmd == MMUEXT_COPY_PAGE)
			x->arg1.mfn = any_mfn(f);
		else if (x->cmd == MMUEXT_INVLPG_LOCAL || x->cmd == MMUEXT_INVLPG_ALL)
			x->arg1.linear_addr = rarely() ? any() : f->va;
		x->arg2.src_mfn = any_mfn(f);
		if (x->cmd == MMUEXT_TLB_FLUSH_MULTI)
			x->arg2.vcpumask.p = (void *)&f->stream;
	}
	return HC4(mmuext_op, rarely() ? (void *)any() : f->op.x, n, rnd() % 2 ? &f->done : NULL,
		   DOMID_SELF);
}

/* Its mapping among all pages; refused when it has become a page table meanwhile. */
static void direct_map(struct fuzz *f, unsigned int i, bool there)
{
	hc_update_va((unsigned long)f->page[i],
		     there ? MK_PTE(virt_to_mfn(f->page[i]), PTE_KERN) : 0, UVMF_INVLPG);
}

/* A page goes and comes back. */
static long give_or_take(struct fuzz *f, unsigned int i, struct xen_memory_reservation *r)
{
	long rc;

	if (!f->gone[i])
		direct_map(f, i, false);
	rc = hc_memory(f->gone[i] ? XENMEM_populate_physmap : XENMEM_decrease_reservation, r);
	f->gone[i] ^= rc == 1;
	if (!f->gone[i])
		direct_map(f, i, true);
	return rc;
}

static long fuzz_memory(struct fuzz *f)
{
	struct xen_memory_reservation r = {.domid = DOMID_SELF, .nr_extents = 1};
	unsigned int i = (unsigned int)(rnd() % WINDOW);

	set_xen_guest_handle(r.extent_start, f->op.gfn);
	f->op.gfn[0] = pfn_to_mfn(virt_to_pfn(f->page[i]));
	if (!rarely())
		return give_or_take(f, i, &r);
	f->op.gfn[0] = NO_MFN + rnd() % 16;
	r.extent_order = (unsigned int)(rnd() % 64);
	return hc_memory(rnd() % 2 ? XENMEM_decrease_reservation : XENMEM_populate_physmap,
			 rarely() ? (void *)any() : &r);
}

static long fuzz_event(struct fuzz *f)
{
	unsigned int i = (unsigned int)(rnd() % PORTS);
	uint32_t vcpu = rarely() ? (uint32_t)any() : (uint32_t)(rnd() % nr_cpus);
	uint32_t port = rarely() ? (uint32_t)any() | 0x1000 : f->port[i];
	long rc;

	switch (rnd() % 8) {
	case 0:
		if (f->port[i])
			return event_send(port);
		rc = event_bind_ipi(vcpu);
		break;
	case 1:
		if (f->port[i])
			return event_unmask(port);
		rc = event_alloc_unbound((domid_t)(rnd() % 8));
		break;
	case 2:
		if (f->port[i])
			return event_bind_vcpu(port, vcpu);
		rc = event_bind_interdomain((domid_t)(rnd() % 8), (uint32_t)(rnd() % 64));
		break;
	case 3:
		if (f->port[i])
			return event_set_priority(port, (uint32_t)(rnd() % 20));
		rc = event_bind_virq(rarely() ? (uint32_t)any() : VIRQ_DEBUG, vcpu);
		break;
	case 4:
		rc = f->port[i] ? event_close(f->port[i]) : -1;
		f->port[i] = 0;
		return rc;
	case 5: {
		struct evtchn_status st = {.dom = DOMID_SELF, .port = port};

		return hc_evtchn(EVTCHNOP_status, rarely() ? (void *)any() : &st);
	}
	default:
		return event_send(port);
	}
	if (rc > 0)
		f->port[i] = (uint32_t)rc;
	return rc;
}

static long fuzz_vcpu(struct fuzz *f)
{
	struct vcpu_set_periodic_timer p = {rarely() ? any() : 1000000 + rnd() % 10000000};
	struct vcpu_set_singleshot_timer s = {time_ns() + rnd() % 1000000, (uint32_t)(rnd() % 2)};
	struct vcpu_runstate_info info;
	unsigned int id = rarely() ? (unsigned int)any() : (unsigned int)(rnd() % nr_cpus);

	(void)f;
	switch (rnd() % 6) {
	case 0:
		return hc_vcpu(VCPUOP_is_up, id, NULL);
	case 1:
		return hc_vcpu(VCPUOP_get_runstate_info, id, rarely() ? (void *)any() : &info);
	case 2:
		return hc_vcpu(VCPUOP_set_periodic_timer, id, &p);
	case 3:
		return hc_vcpu(VCPUOP_stop_periodic_timer, id, NULL);
	case 4:
		return hc_vcpu(VCPUOP_set_singleshot_timer, id, rarely() ? (void *)any() : &s);
	default:
		return hc_vcpu(VCPUOP_up, id % nr_cpus, NULL); /* all are up */
	}
}

static long fuzz_sched(struct fuzz *f)
{
	evtchn_port_t port = f->port[0];
	struct sched_poll poll = {.nr_ports = port != 0, .timeout = time_ns() + rnd() % 200000};

	set_xen_guest_handle(poll.ports, &port);
	switch (rnd() % 4) {
	case 0:
		return hc_sched(SCHEDOP_yield, NULL);
	case 1:
		if (rarely())
			poll.nr_ports = 1000;
		return hc_sched(SCHEDOP_poll, &poll);
	case 2:
		return HC1(set_timer_op, time_ns() + rnd() % 1000000);
	default:
		return hc_sched(50 + (int)(rnd() % 100), (void *)any());
	}
}

static long fuzz_multicall(struct fuzz *f)
{
	unsigned int n = (unsigned int)(rnd() % 8) + 1;

	memset(f->op.m, 0, sizeof(f->op.m));
	for (unsigned int i = 0; i < n; i++) {
		f->op.m[i].op =
			rnd() % 2 ? __HYPERVISOR_update_va_mapping : __HYPERVISOR_xen_version;
		if (f->op.m[i].op == __HYPERVISOR_update_va_mapping) {
			f->op.m[i].args[0] = f->va + rnd() % WINDOW * PAGE_SIZE;
			f->op.m[i].args[1] = any_pte(f);
		} else {
			f->op.m[i].args[0] = rnd() % 12;
			f->op.m[i].args[1] = (unsigned long)f->page[0] * !f->gone[0];
		}
		if (rarely())
			f->op.m[i].op = 60 + rnd() % 1000;
	}
	return hc_multicall(rarely() ? (void *)(any() | 1UL << 63) : f->op.m, n);
}

/* Through the window: mapped or not, this must be an access or a page fault. */
static long touch_window(struct fuzz *f)
{
	volatile uint64_t *p = (uint64_t *)(f->va + rnd() % WINDOW * PAGE_SIZE) + rnd() % 512;
	unsigned long st = rnd() % 2 ? probe_read(p, NULL) : probe_write(p, rnd());

	f->faults += st != 0;
	CHECK(!st || st == FAULT(TRAP_PF), "an access ended with %lx", st);
	return 0;
}

static long (*const structured[])(struct fuzz *f) = {
	fuzz_mmu_update, fuzz_mmu_update, fuzz_update_va, fuzz_update_va,
	fuzz_mmuext,	 fuzz_memory,	  fuzz_event,	  fuzz_event,
	fuzz_vcpu,	 fuzz_sched,	  fuzz_multicall, touch_window,
};

static void count(struct fuzz *f, unsigned int what, long rc)
{
	f->made++;
	if (rc >= 0)
		f->ok++;
	else if (rc > -ERRNOS)
		f->err[-rc]++;
	else
		f->other++;
	f->stream = mix64(f->stream ^ (what + f->made * 256));
}

static void init(void *arg)
{
	struct fuzz *f = fuzzers[this_cpu()->id];

	(void)arg;
	f->va = WINDOW_BASE + this_cpu()->id * 0x40000000UL;
	for (unsigned int i = 0; i < WINDOW; i++) {
		f->page[i] = page_alloc();
		f->entry[i] = pt_entry(kernel_l4, f->va + i * PAGE_SIZE, 1);
		CHECK(f->entry[i], "no table for the window");
	}
	f->table = pt_page_alloc();
	evil_hypercalls_init();
}

static void run(void *arg)
{
	struct fuzz *f = fuzzers[this_cpu()->id];

	(void)arg;
	events_mask();
	for (unsigned long i = 0; i < iters; i++) {
		unsigned int what = (unsigned int)(rnd() % (2 * ARRAY_LEN(structured)));
		uint64_t next = rnd();
		long rc = 0;

		if (what < ARRAY_LEN(structured)) {
			if (trace)
				printf("mini: fuzz %lu structured %u\n", i, what);
			rc = structured[what](f);
		} else {
			what = 100 + evil_hypercall(&rc, trace);
		}
		/* How much an operation draws may depend on what came before, the next one does not. */
		rnd_set(next);
		if (what != 164)
			count(f, what, rc);
		if (i % 256 == 255) { /* let what is pending through */
			events_unmask();
			events_mask();
		}
	}
	hc_vcpu(VCPUOP_stop_periodic_timer, this_cpu()->id, NULL);
	events_unmask();
}

static void report(unsigned int id, const struct fuzz *f)
{
	printf("mini: fuzz vcpu=%u ops=%lu ok=%lu faults=%lu stream=%lx\n", id, f->made, f->ok,
	       f->faults, f->stream);
}

void role_fuzz(void)
{
	unsigned long err[ERRNOS] = {0}, made = 0, refused = 0, kinds = 0;

	iters = arg_num("iters", 20000);
	trace = arg_num("trace", 0);
	rnd_init();
	smp_up_all();
	for (unsigned int i = 0; i < nr_cpus; i++) {
		unsigned long size = (sizeof(struct fuzz) + PAGE_SIZE - 1) / PAGE_SIZE;

		fuzzers[i] = pages_alloc(size);
		/* Tables are made by one vCPU. */
		pt_map(kernel_l4, WINDOW_BASE + i * 0x40000000UL, 0);
	}
	/* One after the other: which pages they get is part of what a seed repeats. */
	init(NULL);
	for (unsigned int i = 1; i < nr_cpus; i++) {
		smp_call(i, init, NULL);
		smp_wait(i);
	}
	smp_call_all(run, NULL);
	for (unsigned int i = 0; i < nr_cpus; i++) {
		report(i, fuzzers[i]);
		made += fuzzers[i]->made;
		for (unsigned int e = 0; e < ERRNOS; e++)
			err[e] += fuzzers[i]->err[e];
	}
	for (unsigned int e = 0; e < ERRNOS; e++) {
		refused += err[e];
		kinds += err[e] != 0;
		if (err[e])
			printf("mini: fuzz errno=%u count=%lu\n", e, err[e]);
	}
	CHECK(kinds > 5, "only %lu kinds of errors", kinds);
	role_pass("ops=%lu refused=%lu kinds=%lu", made, refused, kinds);
}
