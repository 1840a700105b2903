/* SPDX-License-Identifier: MIT */
/* A machine, and a domain on it, for the litmus tests. */
#ifndef STRESS_LITMUS_WORLD_H
#define STRESS_LITMUS_WORLD_H

#include "core/arch.h"
#include "core/domain.h"
#include "core/host/host.h"
#include "memsvc/frame.h"
#include "stress/litmus/litmus.h"

#define WORLD_FRAMES 8192UL

static inline void world_memory(unsigned cpus)
{
	struct mem_range r = {HOST_FIRST_MFN << PAGE_SHIFT, WORLD_FRAMES << PAGE_SHIFT};

	host_arena_init(WORLD_FRAMES);
	if (frames_init(&r, 1))
		litmus_fail("no frames");
	host_sim_init(cpus);
	domains_init();
	/* Frames for all, so that the depot is no part of the test. */
	for (unsigned i = 0; i < cpus; i++) {
		mfn_t m[32];

		host_become(i);
		for (unsigned k = 0; k < ARRAY_SIZE(m); k++)
			m[k] = page_alloc(0);
		for (unsigned k = 0; k < ARRAY_SIZE(m); k++)
			page_free(m[k]);
	}
	host_become(0);
}

/* With @names names, the first @pages of them private, its vCPUs up but not running. */
static inline struct domain *world_domain_of(const char *name, unsigned vcpus, unsigned names,
					     unsigned pages)
{
	struct domain_params p = {.name = name,
				  .kind = "litmus",
				  .vcpus = vcpus,
				  .nr_pages = names,
				  .sched = {.weight = 256}};
	struct domain *d;

	if (domain_create(&d, &p) || mm_populate(&d->mm, GFN(0), pages) != pages)
		litmus_fail("no domain");
	domain_start(d);
	for (unsigned i = 0; i < vcpus; i++) {
		atomic_store(&d->vcpu[i]->is_up, true);
		d->vcpu[i]->info->evtchn_upcall_mask = 0;
	}
	return d;
}

/* The same with the names that @pages need, 64 at least. */
static inline struct domain *world_domain(const char *name, unsigned vcpus, unsigned pages)
{
	return world_domain_of(name, vcpus, MAX(pages, 64u), pages);
}

static inline void world_settle(void)
{
	for (unsigned i = 0; i < nr_pcpus(); i++) {
		host_become(i);
		host_service();
		this_pcpu()->work = 0;
	}
	host_become(0);
}

#endif
