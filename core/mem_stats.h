/* SPDX-License-Identifier: MIT */
/*
 * Memory figures as records on the record stream, in pages. Every `mem.record_ms` pCPU 0 takes a
 * sample; it comes out as one or more lines
 *
 *	{"ev":"mem","seq":N,"t_ns":T,"dom":[ROW,...]}
 *	{"ev":"mem","seq":N,"t_ns":T,"total":{...}}		the last of the sample
 *
 * ROW: ["NAME",given,touched,allocated,active,shared,zero,swapped,ballooned,overhead,target,
 * balloon,shares,saved,broken,scanned,hints,tables,records], fields as in struct xylem_memory
 * (core/hc_xylem.h), the last two the parts of overhead for hardware page tables and for P2M and
 * reverse map. A large sample is taken in steps with other work between them.
 *
 * At the end one line {"ev":"memory","t_ns":T,"given_pages":...} tells what the guests' memory came
 * to: the sample taken when all domains are ended on request, else the last one that has nine
 * tenths of the memory that was ever given at once (guests that end early do not count).
 */
#ifndef CORE_MEM_STATS_H
#define CORE_MEM_STATS_H

#include "core/domain.h"
#include "core/hc_xylem.h"

/** mem_stats_of() - figures of one domain; size, domid are set too. RCU section, any pCPU. */
void mem_stats_of(struct domain *d, struct xylem_memory *out);

/** mem_stats_start() - begin to take samples. On pCPU 0, once. */
void mem_stats_start(void);

/** mem_stats_set_period() - ms between two samples, up to an hour; 0: none. 0 or -XEN_EINVAL. Any
 * pCPU; takes effect within a second. */
int mem_stats_set_period(uint64_t ms);

/** mem_stats_freeze() - take a last sample now, the one for mem_stats_end(). pCPU 0. */
void mem_stats_freeze(void);

/** mem_stats_end() - print the `memory` record, if a sample was taken. pCPU 0. */
void mem_stats_end(void);

#endif
