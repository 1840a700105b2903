/* SPDX-License-Identifier: MIT */
/* Things made once and published: a pCPU, a domain, the scanners' pages, a counter. */
#include "memsvc/scan.h"
#include "percpu/counters.h"
#include "stress/litmus/tests/world.h"

/* ---- pCPU ---- */

static struct pcpu fresh;

static void setup_pcpu(void)
{
	host_sim_init(2);
}

static void thread_pcpu(unsigned me)
{
	if (me == 0)
		pcpu_init(&fresh, 2);
	else if (nr_pcpus() > 2)
		LITMUS_ASSERT(!pcpu_get(2) || pcpu_get(2)->id == 2);
}

LITMUS(pcpu, "pcpu", "a pCPU that is found has been made", 2, 0, setup_pcpu, thread_pcpu, NULL);

static void thread_pcpu_get(unsigned me)
{
	if (me == 0)
		pcpu_init(&fresh, 2);
	else if (pcpu_get(2))
		LITMUS_ASSERT(pcpu_get(2)->timers.programmed_ns == TIME_NEVER);
}

LITMUS(pcpu_number, "pcpu_number", "the same for who looks at the number only", 2, 0, setup_pcpu,
       thread_pcpu_get, NULL);

/* ---- domain ---- */

static struct domain *dom;

static void setup_domain(void)
{
	struct domain_params p = {.name = "a", .kind = "litmus", .vcpus = 1, .nr_pages = 64};

	world_memory(2);
	if (domain_create(&dom, &p))
		litmus_fail("no domain");
	host_clock_set(5);
}

static void thread_domain(unsigned me)
{
	struct domain *d;

	if (me == 0) {
		domain_start(dom);
		return;
	}
	d = domain_by_id(dom->id);
	LITMUS_ASSERT(!d || d->start_ns == 5);
}

LITMUS(domain_live, "domain", "a domain that is found by its number has been made", 2, 2,
       setup_domain, thread_domain, NULL);

/* ---- scanners ---- */

static void setup_scan(void)
{
	world_memory(2);
}

static void thread_scan(unsigned me)
{
	if (me == 0)
		LITMUS_ASSERT(!scan_init());
	else
		scan_idle(this_pcpu());
}

LITMUS(scan_pages, "scan_init", "a pCPU's scanner that is found has been made", 2, 1, setup_scan,
       thread_scan, NULL);

/* ---- contention counts ---- */

static void setup_counts(void)
{
	host_sim_init(2);
}

static void thread_counts(unsigned me)
{
	struct contention_counts c;
	uintptr_t pc[CALLER_DEPTH];

	if (me == 0) {
		CAS_LOOP(loop, "litmus");
		retry(&loop);
		retry_done(&loop);
		return;
	}
	for (unsigned i = 0; i < nr_sites(); i++) {
		if (__start_xylem_sites[i].name[0] != 'l')
			continue;
		contention_read(&pcpu_get(0)->contention, i, &c);
		LITMUS_ASSERT(c.ops >= c.contended);
	}
	for (unsigned i = 0; i < MAX_CALLERS; i++)
		contention_caller(&pcpu_get(0)->contention, i, &c, pc);
}

LITMUS(contention_counts, "contention", "a reader sees no more contended passes than passes", 2, 2,
       setup_counts, thread_counts, NULL);
