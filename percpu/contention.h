/* SPDX-License-Identifier: MIT */
/*
 * What contention costs, counted where it happens: each CAS-retry loop and each wait for another
 * pCPU is a site, a static descriptor in the section xylem_sites. Each pCPU has a slot for every site
 * in its own area, so counting writes no line of another pCPU.
 *
 *	CAS_LOOP(loop, "state of a frame");
 *	do {
 *		...
 *	} while (!atomic_compare_exchange_weak(...) && retry(&loop));
 *	retry_done(&loop);
 *
 * Not contended, this is one increment of the slot's @ops and a test of a register. The clock is
 * read from the first failure on. retry_done() ends the measured wait; a return from the middle of
 * the loop ends it too.
 *
 * Invariants: a slot is written by its pCPU only. ops >= contended at any moment, for who reads
 * @contended first (acquire; it is written with release, after @ops). PAIRS: contended.
 * The contended passes of a pCPU are also kept by call path, in a small hash table that is never
 * emptied; a path that finds no room is in the slot only.
 */
#ifndef PERCPU_CONTENTION_H
#define PERCPU_CONTENTION_H

#include <arch/cpu.h>

#include "core/types.h"

#define MAX_SITES 128
#define MAX_CALLERS 64 /* call paths of one pCPU, a power of two */
#define CALLER_DEPTH 7

enum site_kind { SITE_CAS, SITE_WAIT };

/* As large as a slot: a slot's place among the slots is its site's in the section. */
struct contention_site {
	const char *name;
	const char *file;
	const char *function;
	uint32_t line;
	uint32_t kind;
} ALIGNED(32);

struct contention_slot {
	uint64_t ops;	    /* passes */
	uint64_t contended; /* ... with a failed CAS, or that found something to wait for */
	uint64_t wait;	    /* cycles from the first failure on */
	uint64_t retries;   /* failed attempts */
};
_Static_assert(sizeof(struct contention_slot) == sizeof(struct contention_site), "same stride");

/* One call path to a site. Published by @site (0: unused), which is the site's number + 1. */
struct contention_caller {
	_Atomic uint32_t site;
	int32_t pc[CALLER_DEPTH]; /* return addresses from inside out, from contention_base() on */
	uint64_t contended, wait, retries;
	uint64_t pad;
};

struct contention {
	struct contention_slot slot[MAX_SITES];
	struct contention_caller caller[MAX_CALLERS];
};

extern const struct contention_site __start_xylem_sites[], __stop_xylem_sites[];

static inline unsigned nr_sites(void)
{
	return (unsigned)(__stop_xylem_sites - __start_xylem_sites);
}

/** contention_base() - call paths are kept as distances from here. */
static inline uintptr_t contention_base(void)
{
	return (uintptr_t)__start_xylem_sites;
}

/** contention_offset() - what arch_sites() is for a pCPU with area @c: slot address - site's. */
static inline uintptr_t contention_offset(struct contention *c)
{
	return (uintptr_t)c->slot - (uintptr_t)__start_xylem_sites;
}

static inline struct contention_slot *this_slot(const struct contention_site *s)
{
	return (struct contention_slot *)(arch_sites() + (uintptr_t)s);
}

/* A loop that is under way. */
struct retry_loop {
	const struct contention_site *site;
	uint64_t since; /* cycles; valid when @retries */
	uint64_t retries;
};

/** contention_record() - a pass through @site failed @retries times, and lasted until now. */
void contention_record(const struct contention_site *site, uint64_t since,
		       uint64_t retries) COLD_CALL;

/* Always inline: then the loop stays in registers. */
#define RETRY_INLINE static inline __attribute__((always_inline))

RETRY_INLINE void retry_begin(struct retry_loop *l, const struct contention_site *site)
{
	l->site = site;
	l->retries = 0;
	__asm__("" : "=r"(l->since)); /* no value yet, and no instruction to give it one */
}

/** retry() - an attempt in @l has failed and there is another one. Returns true. */
RETRY_INLINE bool retry(struct retry_loop *l)
{
	if (!l->retries++)
		l->since = arch_cycles();
	return true;
}

/** retry_done() - @l has ended, well or not. Again: nothing. */
RETRY_INLINE void retry_done(struct retry_loop *l)
{
	if (unlikely(l->retries)) {
		contention_record(l->site, l->since, l->retries);
		l->retries = 0;
	}
}

#define SITE_SECTION __attribute__((section("xylem_sites"), aligned(32)))

#define COUNTED_SITE(var, kind_, label)                          \
	static const struct contention_site var SITE_SECTION = { \
		.name = (label),                                 \
		.file = __FILE__,                                \
		.function = __func__,                            \
		.line = __LINE__,                                \
		.kind = (kind_),                                 \
	};                                                       \
	arch_count(&this_slot(&var)->ops)

#define RETRY_LOOP(loop, kind_, label)                               \
	COUNTED_SITE(loop##_site, kind_, label);                     \
	struct retry_loop loop __attribute__((cleanup(retry_done))); \
	retry_begin(&loop, &loop##_site)

/** CAS_LOOP() - declare @loop, a CAS-retry loop on what @label says, and count this pass. */
#define CAS_LOOP(loop, label) RETRY_LOOP(loop, SITE_CAS, label)
/** WAIT_LOOP() - the same for a wait until another pCPU has done something. */
#define WAIT_LOOP(loop, label) RETRY_LOOP(loop, SITE_WAIT, label)
/**
 * CAS_SITE() - for a hot path that does not hold a loop itself: declare @site and count this pass.
 * Who makes further attempts takes &@site, and begins with retry_begin() and retry().
 */
#define CAS_SITE(site, label) COUNTED_SITE(site, SITE_CAS, label)

/* ---- reading: any pCPU ---- */

struct contention_counts {
	uint64_t ops, contended, wait, retries;
};

/** contention_read() - pCPU @c's counts of site number @n. */
void contention_read(const struct contention *c, unsigned n, struct contention_counts *out);

/** contention_sum() - over all pCPUs. @n: site number. */
void contention_sum(unsigned n, struct contention_counts *out);

/**
 * contention_caller() - row @i (< MAX_CALLERS) of pCPU @c's call paths: counts (ops is 0), and in
 * @pc, of CALLER_DEPTH, the return addresses, 0 behind the last. Returns the site's number, or -1
 * for a row that is not in use.
 */
int contention_caller(const struct contention *c, unsigned i, struct contention_counts *out,
		      uintptr_t *pc);

#endif
