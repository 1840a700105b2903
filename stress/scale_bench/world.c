/* SPDX-License-Identifier: MIT */
/* The machine, its domains and the seats; see bench.h. */
#include "stress/scale_bench/bench.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xen/vcpu.h>

#include "core/run.h"
#include "memsvc/p2m.h"
#include "memsvc/pt.h"
#include "percpu/tlb.h"

#define FRAMES_EACH 32768UL /* of memory, for each seat: 128 MiB */
#define ENTRIES 512UL
#define TABLE (PTE_P | PTE_RW | PTE_US | PTE_A | PTE_D)
#define READ_WRITE (PTE_P | PTE_RW | PTE_A | PTE_D)
#define READ_ONLY (PTE_P | PTE_A)

/* Names of a domain, in this order. */
enum { N_L4 = 1, N_L3, N_L2, N_ARRAY, N_CONTROL, N_INFO = N_CONTROL + 2, N_L1 = N_INFO + 2 };

static struct {
	unsigned seats, domains;
	enum layout layout;
	uint64_t names, direct; /* of each domain; the first of its direct map's L1 */
	struct domain *dom[SEATS_MAX];
	struct seat *seat;
} w;

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("scale_bench: ", stderr);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

unsigned number(const char *s, unsigned long min, unsigned long max)
{
	char *end;
	unsigned long v = strtoul(s, &end, 10);

	if (*end || v < min || v > max)
		die("'%s' is not a number from %lu to %lu", s, min, max);
	return (unsigned)v;
}

enum layout layout_of(const char *s)
{
	if (!strcmp(s, layout_name(APART)))
		return APART;
	if (strcmp(s, layout_name(ONE)) != 0)
		die("'%s' is neither %s nor %s", s, layout_name(APART), layout_name(ONE));
	return ONE;
}

const char *layout_name(enum layout l)
{
	return l == APART ? "domains" : "vcpus";
}

struct seat *seat_of(unsigned cpu)
{
	return &w.seat[cpu];
}

static unsigned vcpus(void)
{
	return w.layout == ONE ? w.seats : 1;
}

void world_machine(unsigned seats)
{
	static char log[1 << 16], records[1 << 16];
	/* Of which little is touched; what a pCPU may keep in its cache depends on it. */
	struct mem_range r = {HOST_FIRST_MFN << PAGE_SHIFT, seats * FRAMES_EACH << PAGE_SHIFT};

	host_console_capture(0, log, sizeof(log));
	host_console_capture(1, records, sizeof(records));
	host_arena_init(r.size >> PAGE_SHIFT);
	if (frames_init(&r, 1))
		die("no memory for the frame table");
	w.seats = seats;
	w.seat = aligned_alloc(PAGE_SIZE, seats * sizeof(*w.seat));
	if (!w.seat)
		die("no memory");
	memset(w.seat, 0, seats * sizeof(*w.seat));
}

static _Atomic uint64_t *page(struct domain *d, uint64_t gfn)
{
	return arch_mfn_to_virt(mm_gfn_to_mfn(&d->mm, GFN(gfn)));
}

static uint64_t first_data(void)
{
	return N_L1 + vcpus();
}

static uint64_t first_share(void)
{
	return first_data() + vcpus() * SEAT_PAGES;
}

/* A direct map of all names, tables read-only, and beside it one L1 for each vCPU. */
static void tables(struct domain *d)
{
	uint64_t n = DIV_ROUND_UP(w.names, ENTRIES);

	page(d, N_L4)[0] = (uint64_t)N_L3 << PAGE_SHIFT | TABLE;
	page(d, N_L3)[0] = (uint64_t)N_L2 << PAGE_SHIFT | TABLE;
	for (uint64_t i = 0; i < n; i++) {
		_Atomic uint64_t *l1 = page(d, w.direct + i);

		page(d, N_L2)[i] = (w.direct + i) << PAGE_SHIFT | TABLE;
		for (uint64_t g = i * ENTRIES; g < MIN((i + 1) * ENTRIES, w.names); g++) {
			bool table = g <= N_L2 || (g >= N_L1 && g < N_L1 + vcpus()) ||
				     (g >= w.direct && g < w.direct + n);

			l1[g % ENTRIES] = g << PAGE_SHIFT | (table ? READ_ONLY : READ_WRITE);
		}
	}
	for (uint64_t i = 0; i < vcpus(); i++)
		page(d, N_L2)[n + i] = (N_L1 + i) << PAGE_SHIFT | TABLE;
}

static void make_domain(unsigned i)
{
	struct domain_params p = {.name = "guest", .kind = "scale"};
	struct domain *d;

	p.id = (domid_t)(i + 1);
	p.vcpus = vcpus();
	p.nr_pages = w.names;
	if (w.layout == APART)
		cpumask_set(&p.sched.pin, i);
	if (domain_create(&d, &p) || mm_populate(&d->mm, GFN(0), w.names) != w.names)
		die("no memory for domain %u", i + 1);
	tables(d);
	w.dom[i] = d;
	domain_start(d);
}

void world_domains(enum layout layout)
{
	w.layout = layout;
	w.domains = layout == ONE ? 1 : w.seats;
	w.direct = first_share() + (layout == APART ? SEAT_SHARE : 0);
	w.names = w.direct + 2;
	w.names += w.names / ENTRIES; /* one L1 of the direct map for each block */
	domains_init();
	if (scan_init())
		die("no memory for the sharing table");
	for (unsigned i = 0; i < w.domains; i++)
		make_domain(i);
}

bool world_leave(void)
{
	struct pcpu *p = this_pcpu();

	while (p->work || inbox_pending(&p->inbox)) {
		p->work |= WORK_INBOX;
		run_pending(p);
	}
	if (!p->current)
		return false;
	if (vcpu_event_pending(p->current))
		arch_deliver_events(p->current);
	return true;
}

bool world_look(void)
{
	struct pcpu *p = this_pcpu();

	if (timer_heap_next(&p->timers) <= arch_now_ns())
		p->work |= WORK_TIMER; /* as the interrupt does */
	return world_leave();
}

/* ---- seats ----------------------------------------------------------------------------------- */

long world_hypercall(unsigned nr, const uint64_t args[6])
{
	uint64_t again[6];
	long rc = 0;

	while (!hypercall_dispatch(nr, args, &rc)) { /* preempted: issued again with what is left */
		memcpy(again, current_vcpu()->arch.restart_args, sizeof(again));
		args = again;
		if (!world_look())
			die("hypercall %u took the vCPU away", nr);
	}
	return rc;
}

static long hc(unsigned nr, uint64_t a, uint64_t b, uint64_t c)
{
	const uint64_t args[6] = {a, b, c};

	return world_hypercall(nr, args);
}

/* What vCPU 0 does for all: a place for their events, and for the others a context; up. */
static void bring_up(struct domain *d)
{
	static struct vcpu_guest_context ctx;

	for (unsigned i = 0; i < vcpus(); i++) {
		struct vcpu_register_vcpu_info r = {.mfn = N_INFO + i / 64,
						    .offset = i % 64 * CACHE_LINE};

		if (hc(__HYPERVISOR_vcpu_op, VCPUOP_register_vcpu_info, i, (uint64_t)&r))
			die("vCPU %u has no place for events", i);
		d->vcpu[i]->info->evtchn_upcall_mask = 0;
		if (i && (hc(__HYPERVISOR_vcpu_op, VCPUOP_initialise, i, (uint64_t)&ctx) ||
			  hc(__HYPERVISOR_vcpu_op, VCPUOP_up, i, 0)))
			die("vCPU %u does not come up", i);
	}
}

/* FIFO event channels, which lay out events by port: the ports of two vCPUs are a line apart. */
static void fifo(struct domain *d)
{
	struct evtchn_expand_array array = {.array_gfn = N_ARRAY};
	evtchn_port_t port;

	for (unsigned i = 0; i < vcpus(); i++) {
		struct evtchn_init_control c = {.control_gfn = N_CONTROL + i / 32,
						.offset = i % 32 * 2 * CACHE_LINE,
						.vcpu = i};

		if (evtchn_fifo_init_control(d, &c))
			die("no FIFO events");
	}
	if (hc(__HYPERVISOR_event_channel_op, EVTCHNOP_expand_array, (uint64_t)&array, 0))
		die("no FIFO event array");
	for (unsigned i = 1; i < vcpus() * SEAT_PORTS; i++)
		if (evtchn_bind_ipi(d, i / SEAT_PORTS, &port) || port != i)
			die("ports are not given out in order");
	for (unsigned i = 0; i < vcpus(); i++)
		for (unsigned k = i ? 0 : 1; k < SEAT_PORTS; k++)
			if (k != 1 && evtchn_close(d, i * SEAT_PORTS + k))
				die("a port cannot be closed");
}

static void base_pointer(struct vcpu *v)
{
	mfn_t root;
	int rc;

	while ((rc = mm_base_get(&v->domain->mm, GFN(N_L4), &root)) == MM_PREEMPTED)
		world_leave();
	if (rc)
		die("the guest's tables are refused: %d", rc);
	arch_new_baseptr(GFN(N_L4), root);
}

struct seat *world_seat(void)
{
	struct pcpu *p = this_pcpu();
	struct seat *s = &w.seat[p->id];
	struct vcpu *v = p->current;
	struct domain *d = v->domain;

	s->cpu = p->id;
	s->vcpu = v;
	base_pointer(v);
	if (v->id == 0) {
		fifo(d);
		bring_up(d);
	}
	s->l1 = N_L1 + v->id;
	s->data = first_data() + v->id * SEAT_PAGES;
	s->share = first_share();
	s->port = v->id * SEAT_PORTS + 1;
	s->send.port = s->port;
	for (unsigned i = 0; i < SEAT_PAGES; i++) {
		s->map[i].ptr = s->unmap[i].ptr = s->l1 << PAGE_SHIFT | i << 3;
		s->map[i].val = (s->data + i) << PAGE_SHIFT | READ_WRITE;
	}
	for (unsigned i = 0; i < SEAT_EXTENTS; i++)
		s->extent[i] = s->data + SEAT_PAGES - 1 - i;
	s->reservation =
		(struct xen_memory_reservation){.nr_extents = SEAT_EXTENTS, .domid = DOMID_SELF};
	set_xen_guest_handle(s->reservation.extent_start, s->extent);
	return s;
}

void world_done(void)
{
	for (unsigned i = 0; i < w.seats; i++)
		if (pcpu_get(i)->current != w.seat[i].vcpu)
			die("pCPU %u has lost its vCPU", i);
}
