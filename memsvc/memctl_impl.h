/* SPDX-License-Identifier: MIT */
/* Between memsvc/memctl*.c only. */
#ifndef MEMSVC_MEMCTL_IMPL_H
#define MEMSVC_MEMCTL_IMPL_H

#include "memsvc/memctl.h"
#include "memsvc/mm.h"

struct memctl {
	/* Settings (any). */
	_Atomic uint64_t tax, period_ns, sample_ns, sample_pages, balloon_wait_ns, swap,
		swap_reserve;
	/* (any) */
	_Atomic uint64_t committed;   /* frames set aside by admission; kept <= admissible by CAS */
	_Atomic uint64_t reserved;    /* frames that builders are about to take */
	_Atomic uint64_t room_wanted; /* frames a builder waits for; it asks again until then */
	_Atomic uint64_t room_until_ns;
	_Atomic uint64_t ended_ns; /* when a domain was last ended for lack of memory */
	/* Written by pCPU 0, read by any. */
	uint64_t own; /* frames the hypervisor used before the first domain */
	_Atomic uint32_t state;
	_Atomic bool stuck;    /* low, and nothing comes back */
	_Atomic bool squeezed; /* room is wanted and nobody has more than its target */
	_Atomic uint64_t entered[MEM_STATES];
	_Atomic uint64_t exhausted;
	_Atomic uint64_t swapped_out; /* pages, ever; (any) */
	bool started;
};

extern struct memctl memctl;

/** memctl_admissible() - frames that can be promised in all. */
uint64_t memctl_admissible(void);

/** memctl_look() - look at memory soon. Any pCPU. */
void memctl_look(void);

/** memctl_swap_want() - @pages of @d are to be swapped out; memctl_swap_go() - start. pCPU 0. */
void memctl_swap_want(struct domain *d, uint64_t pages);
void memctl_swap_go(void);
/** memctl_swap_init() - once, all pCPUs published. */
void memctl_swap_init(void);

/** memctl_count() - a counter of a running domain, never below 0. */
uint64_t memctl_count(const struct mm *mm, enum mm_kind k);

/** memctl_balloon_bound() - the guest listens for its balloon target. */
bool memctl_balloon_bound(struct domain *d);

#endif
