/* SPDX-License-Identifier: MIT */
/*
 * Xylem's own hypercall, __HYPERVISOR_arch_7 (55): what no call of Xen's ABI says about a domain's
 * memory. This header is the ABI: guests may include it; the layout of what is here never changes,
 * structures only grow at their end.
 *
 *	long arch_7(unsigned long cmd, unsigned long arg)
 *
 * cmd			arg				returns
 * XYLEM_OP_version	ignored				XYLEM_ABI_VERSION
 * XYLEM_OP_balloon	ignored				pages that this guest shall have given up in
 *							all (XENMEM_decrease_reservation); it may
 *							take back what it gave beyond that
 * XYLEM_OP_memory	struct xylem_memory *		0, the structure filled in
 * XYLEM_OP_control	const struct xylem_control *	0, the setting changed
 *
 * When the balloon target changes the hypervisor sends VIRQ_ARCH_0, a global VIRQ (vCPU 0), if it is
 * bound. A guest reads the target when it binds the VIRQ and after each.
 *
 * Only a domain in control may look at another's memory or change a setting: the one that the
 * configuration names by `set control NAME`; by default there is none. The control stream
 * (core/control.h) changes the same settings.
 *
 * Errors: -EPERM (not in control), -ESRCH no such domain, -EINVAL value out of range or unknown
 * setting, -ENOMEM a minimum that cannot be promised, -EFAULT, -ENOSYS unknown cmd.
 */
#ifndef CORE_HC_XYLEM_H
#define CORE_HC_XYLEM_H

#include <stdint.h>

#define XYLEM_ABI_VERSION 1

#define XYLEM_OP_version 0
#define XYLEM_OP_balloon 1
#define XYLEM_OP_memory 2
#define XYLEM_OP_control 3

#define XYLEM_MEMORY_balloon_by_hand 0x1u /* the balloon target was set, not found by the policy */
#define XYLEM_MEMORY_waits 0x2u		  /* its page faults wait for memory */

/* One domain's memory; pages of 4 KiB. Each figure is exact by itself. */
struct xylem_memory {
	uint32_t size;	/* in: sizeof; out: bytes filled in, at most that */
	uint32_t domid; /* in: DOMID_SELF or a domain */
	uint32_t flags; /* XYLEM_MEMORY_* */
	uint32_t shares;
	uint64_t given;	    /* names: what it was promised (its max) */
	uint64_t min;	    /* never taken from it */
	uint64_t touched;   /* names that had a frame of their own and were not given up */
	uint64_t allocated; /* frames of its own behind names */
	uint64_t active;    /* of allocated and shared, estimated to be in use */
	uint64_t shared;    /* touched names whose frame is shared now */
	uint64_t zero;	    /* of these, with the zero page */
	uint64_t swapped;   /* names whose page is in the host's swap */
	uint64_t ballooned; /* names it gave up */
	uint64_t overhead;  /* frames for its page tables and records */
	uint64_t target;    /* frames of its own it may have when memory is scarce */
	uint64_t balloon;   /* pages it shall have given up */
	uint64_t saved;	    /* of shared: frames that it would have without sharing */
	/* Since its creation. */
	uint64_t broken;  /* shares broken by writes */
	uint64_t scanned; /* pages read by the sharing scanners */
	uint64_t hints;	  /* of these: kept in the sharing table, for others to be equal to */
};

/* Settings. Those of a domain need one; the others ignore domid. */
#define XYLEM_SET_balloon 0	  /* domain; pages, or XYLEM_BALLOON_AUTO */
#define XYLEM_SET_shares 1	  /* domain; 1 to 1000000 */
#define XYLEM_SET_min 2		  /* domain; pages */
#define XYLEM_SET_scan_rate 3	  /* domain; pages per second; 0: not scanned */
#define XYLEM_SET_tax 4		  /* percent, 0 to 100 */
#define XYLEM_SET_scan_rate_all 5 /* pages per second, all pCPUs together; 0: no scanning */
#define XYLEM_SET_record_ms 6	  /* period of the memory records; 0: none */

#define XYLEM_BALLOON_AUTO UINT64_MAX

struct xylem_control {
	uint32_t what; /* XYLEM_SET_* */
	uint32_t domid;
	uint64_t value;
};

#endif
