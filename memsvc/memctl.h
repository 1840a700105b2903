/* SPDX-License-Identifier: MIT */
/*
 * The memory controller: applies memsvc/policy.h to the running domains.
 *
 * A timer on pCPU 0 looks at the free frames every few ms. While memory is plenty (state high) it
 * only samples working sets (memsvc/sample.h). Else it divides what there is: each domain gets a
 * target, and one that holds more is told to balloon (VIRQ_ARCH_0; the guest reads the new balloon
 * target by the control hypercall). A domain without a balloon, or whose balloon does not follow
 * within mem.balloon_wait_ms, is swapped; in states hard and low all above their targets are.
 *
 * Concurrency: settings and figures of a domain are single atomic words, written by whoever sets
 * them or by pCPU 0 alone; readers take them one by one (relaxed: each is a figure by itself).
 * Everything else here belongs to pCPU 0. A domain found by domain_by_id() stays valid in the
 * caller's RCU section.
 */
#ifndef MEMSVC_MEMCTL_H
#define MEMSVC_MEMCTL_H

#include "core/types.h"
#include "memsvc/policy.h"
#include "memsvc/sample.h"

struct domain;

#define MEMCTL_BALLOON_AUTO UINT64_MAX

/* In struct domain. All zero: not under control (yet). */
struct memctl_dom {
	/* Set at creation. */
	uint64_t max;	   /* pages; 0: not under control */
	uint64_t overhead; /* frames that admission has set aside for it beside min */
	/* Settings (any). */
	_Atomic uint64_t min; /* pages */
	_Atomic uint32_t shares;
	_Atomic uint64_t balloon_manual; /* pages it shall give up, or MEMCTL_BALLOON_AUTO */
	/* Figures; written by pCPU 0, read by any. */
	_Atomic uint64_t target;	 /* private frames it may have under pressure */
	_Atomic uint64_t active;	 /* fraction of its memory in use, of POLICY_ONE */
	_Atomic uint64_t balloon_target; /* pages it shall have given up */
	_Atomic uint64_t swap_want;	 /* pages to be swapped out; memctl_swap.c */
	/* pCPU 0's. */
	uint64_t balloon_gone;	   /* given up at the last look */
	uint64_t balloon_since_ns; /* when the target last rose; 0: it was reached */
	struct sampler sampler;
};

/* ---- what a view shows; snapshots, in pages ---------------------------------------------------- */

struct memctl_stats {
	uint64_t min, max;
	uint32_t shares;
	uint64_t allocated; /* private frames behind its names */
	uint64_t sharing;   /* names whose frame is shared */
	uint64_t swapped;
	uint64_t ballooned;	 /* names given up */
	uint64_t active_pages;	 /* estimate: active fraction of allocated + sharing */
	uint64_t target;	 /* private frames it may have under pressure */
	uint64_t balloon_target; /* pages it shall have given up */
	bool balloon_manual;	 /* set by hand */
	bool balloon_driver;	 /* its guest listens (VIRQ_ARCH_0 is bound) */
	bool waits;		 /* its faults wait for memory */
};

/** memctl_stats_of() - figures of one domain. RCU section, any pCPU. */
void memctl_stats_of(struct domain *d, struct memctl_stats *out);

struct memctl_host_stats {
	enum mem_state state;
	unsigned tax;		      /* percent */
	uint64_t frames, free;	      /* managed, free now */
	uint64_t mark[MEM_STATES];    /* thresholds in frames */
	uint64_t committed;	      /* set aside by admission: minima and overhead */
	uint64_t admissible;	      /* most that can be */
	uint64_t entered[MEM_STATES]; /* times each state was entered */
	uint64_t exhausted;	      /* times every means was used up */
	uint64_t sample_ms, sample_pages, period_ms;
};

/** memctl_host_stats() - figures of the machine. Any pCPU. */
void memctl_host_stats(struct memctl_host_stats *out);

/* ---- control; any pCPU, RCU section ------------------------------------------------------------ */

/** memctl_set_tax() - idle-memory tax in percent, 0..100. 0 or -XEN_EINVAL. */
int memctl_set_tax(uint64_t percent);

/** memctl_set_shares() - 1..POLICY_SHARES_MAX. 0 or -XEN_EINVAL. */
int memctl_set_shares(struct domain *d, uint64_t shares);

/** memctl_set_min() - pages that are never taken from it. 0, -XEN_EINVAL (more than its memory),
 * -XEN_ENOMEM (that much is not left to promise). */
int memctl_set_min(struct domain *d, uint64_t pages);

/** memctl_set_balloon() - pages the guest shall give up whatever the state of memory, or
 * MEMCTL_BALLOON_AUTO. 0, or -XEN_EINVAL when that leaves it less than its min. */
int memctl_set_balloon(struct domain *d, uint64_t pages);

/**
 * memctl_set() - a setting by name and decimal value, for `set KEY VALUE` in the configuration and
 * `ctl set`:
 *	mem.tax			idle-memory tax, percent			75
 *	mem.period_ms		time between two divisions under pressure	250
 *	mem.sample_ms		sampling period, guest run time			30000
 *	mem.sample_pages	names sampled in a period			100
 *	mem.balloon_wait_ms	how long a balloon may take			3000
 *	mem.swap		1: swap when balloons do not suffice; 0: never	1
 *	mem.swap_reserve	host memory kept for swapped pages, percent	5
 * 0; -XEN_ENOENT for an unknown key; -XEN_EINVAL for a bad value.
 */
int memctl_set(const char *key, const char *value);

/** memctl_balloon_target() - pages @d's guest shall have given up, in all. Any pCPU. */
uint64_t memctl_balloon_target(struct domain *d);

/* ---- for the core ------------------------------------------------------------------------------ */

/** memctl_start() - on pCPU 0, once, before the first domain is built: takes what is used now as
 * the hypervisor's own share, and starts the timer. */
void memctl_start(void);

/**
 * memctl_admit() - whether one more domain can be promised its minimum: @max, @min in pages. On
 * success *@charge frames are set aside, to be passed to memctl_domain_init() or given back with
 * memctl_unadmit(). 0 or -XEN_ENOMEM with one line in @why. Any pCPU, any number at once.
 */
int memctl_admit(uint64_t max, uint64_t min, unsigned vcpus, uint64_t *charge, char *why,
		 size_t why_len);
void memctl_unadmit(uint64_t charge);

/** memctl_domain_init() - put a domain that does not run yet under control. */
void memctl_domain_init(struct domain *d, uint64_t max, uint64_t min, uint32_t shares,
			uint64_t charge);

/** memctl_domain_leave() - it is about to return its memory: no one finds it any more, and a grace
 * period has passed since. On its home pCPU. */
void memctl_domain_leave(struct domain *d);

/** memctl_domain_done() - it has returned its memory. Any pCPU; once, or for one never initialised. */
void memctl_domain_done(struct domain *d);

/**
 * memctl_reserve() - set @pages frames aside that a builder is about to take. False when the
 * domains that run would be pressed by it: the controller makes room, ask again some ms later.
 * memctl_unreserve() when they have been taken, or the build failed. Any pCPU.
 */
bool memctl_reserve(uint64_t pages);
void memctl_unreserve(uint64_t pages);

/**
 * memctl_kick() - memory ran out or is about to: look at once. Lock-free, any pCPU, any context with
 * interrupts off; calls while one is on its way cost one load.
 */
void memctl_kick(void);

/** memctl_exhausted() - memory is low and nothing has come back for a while. Any pCPU. */
bool memctl_exhausted(void);

/**
 * memctl_may_end() - whether a domain that has waited long may be ended now: memory is exhausted, and
 * no other was ended in the last seconds, whose memory might help. Any pCPU; true for one caller.
 */
bool memctl_may_end(uint64_t now_ns);

/** memctl_must_wait() - whether faults of @d that need a frame shall wait: memory is low and it has
 * more than its target. */
bool memctl_must_wait(const struct domain *d);

#endif
