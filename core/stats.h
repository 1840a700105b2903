/* SPDX-License-Identifier: MIT */
/*
 * What became of each configured guest: one record per `guest` line, kept after the domain is gone;
 * the JSON records on the record stream and the final table come from here.
 */
#ifndef CORE_STATS_H
#define CORE_STATS_H

#include "core/domain.h"

#define POWEROFF_OK 0x10     /* every guest ended by a clean power-off or was destroyed */
#define POWEROFF_FAILED 0x11 /* some guest did not, or the configuration had an error */

struct guest_record {
	char name[32];
	char kind[16];
	domid_t domid; /* 0: never created */
	enum domain_end end;
	char reason[96];
	unsigned vcpus;
	uint64_t mem_kib;
	uint64_t start_ns, end_ns; /* system time */
	uint64_t cpu_ns, events, hypercalls;
	void (*gone)(struct guest_record *r); /* its `end` record is out; NULL: it stays */
};

/** stats_start() - print the `start` record of @d. On the pCPU that starts it. */
void stats_start(const struct domain *d);

/** stats_collect() - fill @r's results from a domain whose vCPUs have all stopped. */
void stats_collect(struct guest_record *r, const struct domain *d);

/** stats_end() - print the `end` record. False when the record stream is full: call again. */
bool stats_end(const struct guest_record *r);

/** stats_check_leaks() - a torn-down domain holds nothing; else log an error and count it. */
void stats_check_leaks(const struct domain *d);

/** stats_leaks() - frames that domains did not give back, so far. */
uint64_t stats_leaks(void);

/**
 * stats_table() - print the final table to the hypervisor's log, a few lines per call.
 * @from: 0 at first; returns where to go on once the log has been drained, @n when done.
 */
unsigned stats_table(const struct guest_record *r, unsigned n, unsigned from);

/** stats_status() - POWEROFF_OK or POWEROFF_FAILED for these guests. */
unsigned stats_status(const struct guest_record *r, unsigned n, unsigned config_errors);

#endif
