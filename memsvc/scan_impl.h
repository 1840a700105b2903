/* SPDX-License-Identifier: MIT */
/* Inside the scanner: memsvc/scan*.c. */
#ifndef MEMSVC_SCAN_IMPL_H
#define MEMSVC_SCAN_IMPL_H

#include <xen/xen.h>

#include "memsvc/frame.h"
#include "memsvc/scan.h"
#include "percpu/counters.h"
#include "percpu/rcu.h"
#include "percpu/timer.h"

struct domain;
struct mm;

#define SCAN_BATCH 128		      /* pages guarded per flush and grace period */
#define SCAN_SLICE 32		      /* pages hashed, or 8 times as many looked at, in one slice */
#define SCAN_LOOKS_PER_PAGE 16	      /* looks that count as one page */
#define SCAN_FLUSH_MIN 8	      /* merged pages of a batch that are worth one more flush */
#define SCAN_BACKOFF_MAX 4	      /* leave alone for 2^4 - 1 visits at most */
#define SCAN_TURN_NS NS_PER_MS	      /* work between two rests that the CPU share asks for */
#define SCAN_NAP_NS (100 * NS_PER_MS) /* with nothing to scan, look again after */

/* A page that waits for its hash. */
struct scan_page {
	uint64_t gfn;
	uint64_t word; /* guarded; merged, when that was done */
};

enum scan_phase { SCAN_PICK, SCAN_FLUSH, SCAN_HASH };

/* Private to its pCPU. */
struct scanner {
	enum scan_phase phase;
	bool grace;	     /* the phase waits for a grace period */
	bool taken_over;     /* a name in the batch was guarded by another */
	uint64_t begun_ns;   /* the batch's first guard */
	uint64_t cost_ns;    /* work done since the last rest */
	uint64_t rest_until; /* the CPU share allows no more before */
	/* The domain worked on: its id, and what tells it from a later one with that id. */
	domid_t domid;
	struct domain *domain;
	uint64_t start_ns;
	uint64_t at, end; /* stretch of visits claimed from its cursor */
	unsigned n, done;
	unsigned looks; /* not paid for yet */
	struct rcu_head rcu;
	struct timer timer;
	struct scan_page page[SCAN_BATCH];
};
_Static_assert(sizeof(struct scanner) <= PAGE_SIZE, "a scanner is one page");

extern struct counter scan_looked, scan_skipped, scan_settled, scan_backed_off, scan_guarded,
	scan_scanned, scan_merged, scan_zero, scan_hints, scan_changed, scan_lost, scan_full,
	scan_guessed, scan_busy_ns;

/* ---- scan_pace.c: how fast ---- */

/** scan_due() - when @sd's pages (NULL: any) may be scanned next; TIME_NEVER: not at all. */
uint64_t scan_due(const struct scan_domain *sd);

/** scan_pay() - @pages and @looks were taken from @sd's domain. */
void scan_pay(struct scan_domain *sd, uint64_t now, uint64_t pages, uint64_t looks);

/* ---- scan_pick.c: what ---- */

/** scan_domain_get() - the domain @s works on, if it still lives. RCU read section. */
struct domain *scan_domain_get(const struct scanner *s);

/** scan_pick() - go on collecting pages of @s's domain, or of the next one when its stretch is
 * used up. False: no domain may be scanned now; *@due is when one may. */
bool scan_pick(struct scanner *s, uint64_t now, uint64_t *due);

/** scan_place() - the name of visit @v of @names names, or one that is no name (>= @names). */
uint64_t scan_place(uint64_t v, uint64_t names, enum scan_order order);

/** scan_span() - visits in one pass over @names names; a power of two. */
uint64_t scan_span(uint64_t names);

/* ---- scan_settle.c: page by page ---- */

/* SCAN_TAKE*: the page is filled in and goes into the batch. */
enum scan_verdict { SCAN_SKIP, SCAN_TAKE, SCAN_TAKE_OVER };

/** scan_visit() - look at a name; guard it when it is worth it. RCU read section, as below. */
enum scan_verdict scan_visit(struct mm *mm, gfn_t gfn, struct scan_page *page);

/** scan_hash() - a page whose guard's flush and grace period have passed, without a guess; @next comes
 * after it. */
void scan_hash(struct mm *mm, struct scan_page *page, const struct scan_page *next);

/**
 * scan_hash_some() - the same for @n pages, with guesses; what is needed of the table and of the
 * frames that a page is compared with is fetched into the cache while the pages after it are read.
 * Ends early on preempt_pending(). Returns the number of pages done.
 */
unsigned scan_hash_some(struct mm *mm, struct scan_page *page, unsigned n);

/** scan_flush_merged() - of a batch of @n pages all are done: flush the mm for those that were merged,
 * so that breaking their shares needs no flush, if they are SCAN_FLUSH_MIN at least. */
void scan_flush_merged(struct mm *mm, const struct scan_page *page, unsigned n);

#endif
