/* SPDX-License-Identifier: MIT */
/*
 * The scanner: looks for pages with equal contents, in any domain, and puts one frame behind them.
 *
 * Each pCPU scans in its idle time, in slices of a few microseconds that end as soon as it has
 * anything else to do. It works on batches of names of one domain:
 *   pick    look at names; write-protect those worth it (name_guard())
 *   flush   one TLB shootdown of the domain for the batch
 *   grace   wait for a grace period; the names still guarded are then settled (memsvc/name.h)
 *   guess   the frame that follows the one found for the name before: when the whole page equals it,
 *           the name is swung to it, and there is nothing to hash
 *   hash    zero page: name_share_zero(). Else ask the sharing table; compare in full with what it
 *           names, then promote that to a shared frame if it is a hint, and swing the name to it.
 *           With no match the page becomes a hint itself: it stays write-protected and in the table.
 *           Its hash is a sketch (memsvc/page_hash.h), so that of a page without an equal little is
 *           read. Where the table has another page under that sketch, or the sketch tells nothing,
 *           it is the hash of the whole page; so pages that differ where no sketch looks cost
 *           one comparison more. If the page under the sketch goes, the next one with that sketch
 *           takes its place: it may have an equal among those under full hashes, and is not merged
 *           with that one, but those to come are merged with it.
 * Nothing is held between slices but numbers: domain, names, words; each is checked anew.
 *
 * A hint is a settled name whose frame is in the table under page_info.dom.hash. As long as its word
 * is the same it needs no second hash: a visit costs a look at its record and at the table. Who
 * finds it compares the contents in full, so a wrong hash costs time and nothing else.
 * page_info.dom.hash is 0 or odd. It is written within a read section in which the name was seen
 * settled (the hash) or not guarded (0). Between two such sections of different contents lies the
 * grace period of a guard, so no late store of an older hash comes after a newer one. Contents have
 * two hashes; a CAS from what was there before they were read makes one of them theirs, before the
 * page is entered. So the hash of a shared frame is the one under which it was entered.
 * PAIRS: hint_hash
 *
 * Guess: equal pages come in runs (a kernel's text, a file in the page cache). page_info.dom.follow
 * of a frame is the frame that a scanner saw behind the next name; it is a number to try and no
 * more, may be wrong or stale, and any scanner may overwrite it. A guess is taken through the same
 * steps as what the table names: a shared frame, or a settled hint with a hash of its own under which
 * it is entered when it is promoted; compared in full; promoted and referenced by CAS. Unlike
 * an entry of the table it may lead to a frame that lost its last reference before this read section:
 * what is compared then is worth nothing, but share_get() refuses the frame, and it cannot be shared
 * anew before this section ends, since its new name would have to settle. The page itself is not in
 * the table: one with a hash goes the long way, where two hints that find each other agree on which
 * one stays.
 *
 * A name found guarded but not settled has a scanner that is at work on it, or one that gave up. It
 * is taken into a batch, but its entries may be write-protected only now: such a batch waits for a
 * grace period before its flush, too.
 *
 * Pages that keep changing: a page found writable again after a guard has cost its guest a fault
 * and us a hash, for nothing. It is then left alone for 1, 3, 7, 15 visits, doubling with each
 * guard lost and halving with each visit that finds it still. Doubling, because a page's past says
 * most about its future: one that never rests costs only the logarithm of the visits at first, and
 * one that has come to rest is found after at most as long again as it had been busy. No more than
 * 15 (one pass is one visit of each name), because the cost of a useless guard is a fault per 16
 * passes by then, while what a page that has come to rest might save goes on being lost.
 */
#ifndef MEMSVC_SCAN_H
#define MEMSVC_SCAN_H

#include "core/types.h"

struct pcpu;

#define SCAN_RATE_MAX 1000000000ULL /* pages/s: this and above is "as fast as it goes" */

enum scan_order {
	SCAN_RANDOM,	/* runs of 64 names, in an order that changes with each pass */
	SCAN_SEQUENTIAL /* ascending names */
};

/* The scanner's part of a domain; in struct domain, zero at its creation. */
struct scan_domain {
	_Atomic uint64_t cursor; /* next visit: pass and place in it; fetch_add per stretch */
	_Atomic uint64_t rate;	 /* 0: no limit of its own; else 1 + pages/s */
	_Atomic uint64_t due_ns; /* its rate allows no page before */
};

/* Since boot, over all pCPUs. */
struct scan_stats {
	uint64_t looked;     /* names looked at */
	uint64_t skipped;    /* of these: cannot be shared, or shared already */
	uint64_t settled;    /* of these: hints, unchanged since */
	uint64_t backed_off; /* of these: left alone because they keep changing */
	uint64_t guarded;    /* pages write-protected */
	uint64_t scanned;    /* pages read: hashed, or found equal to a guess */
	uint64_t merged;     /* names swung to a shared frame, zero pages excluded */
	uint64_t zero;	     /* names swung to the zero frame */
	uint64_t hints;	     /* pages entered as hint */
	uint64_t changed;    /* guards lost: pages found written to after it */
	uint64_t lost;	     /* merges given up because the guest wrote first */
	uint64_t full;	     /* pages not entered: no room in the table */
	uint64_t guessed;    /* pages found equal to the frame that followed the last one's */
	uint64_t busy_ns;    /* time spent */
};

/** scan_init() - make the table and the pCPUs' scanners; boot, all pCPUs published. Scanning
 * starts with it. 0 or -XEN_ENOMEM (then there is no sharing). */
int scan_init(void);

/**
 * scan_idle() - a slice of work on an idle pCPU: the current one, RCU online at a quiescent point,
 * interrupts off. Returns true when it wants to go on at once, false when the pCPU may sleep: a
 * timer wakes it when more is due. Ends early on preempt_pending().
 */
bool scan_idle(struct pcpu *p);

/** scan_stats() - a snapshot. */
void scan_stats(struct scan_stats *out);

/* Settings; any pCPU, at any time. */

/** scan_set_rate() - pages hashed per second at most, by all pCPUs together; 0: no scanning. Looks
 * that lead to nothing count for 1/16. Default 5000. */
void scan_set_rate(uint64_t pages_per_s);
uint64_t scan_rate(void);

/** scan_set_cpu_percent() - share of its pCPU's time that a scanner may take, 1..100. Default 25. */
void scan_set_cpu_percent(unsigned percent);
unsigned scan_cpu_percent(void);

/** scan_set_order() - default SCAN_RANDOM. */
void scan_set_order(enum scan_order order);
enum scan_order scan_order(void);

/** scan_set_domain_rate() - limit for one domain's pages, beside the one for all; 0: leave it
 * alone, SCAN_RATE_MAX: no limit of its own (default). */
void scan_set_domain_rate(struct scan_domain *sd, uint64_t pages_per_s);
uint64_t scan_domain_rate(const struct scan_domain *sd);

/** scan_setting() - `set share.KEY VALUE` of the configuration: rate (pages/s or "max"), cpu
 * (percent), order ("random", "sequential"). False: no such key, or a bad value. */
bool scan_setting(const char *key, const char *value);

#endif
