/* SPDX-License-Identifier: MIT */
/*
 * Torture run of the memory services on the host build: pCPUs are threads, each plays a guest on
 * several small domains through a simulated MMU, others scan and merge. An oracle knows what every
 * word of every name must be, whoever else works on the page, its tables or its frame.
 *
 * Each name has tracked words and an untracked rest that follows a template. A tracked word belongs
 * to one thread: only that one writes it (through any mapping), all read it. What changes a whole
 * page (refill, copy, balloon, use as a page table) takes the name exclusively. Templates are few,
 * so that pages are often equal and get merged.
 */
#ifndef STRESS_TORTURE_H
#define STRESS_TORTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/domain.h"
#include "core/host/host.h"
#include "core/hypercall.h"
#include "memsvc/pt.h"
#include "memsvc/name.h"

#define T_MAX_CPUS 16
#define T_MAX_DOMS 4
#define T_ALL_DOMS (T_MAX_DOMS + 1) /* with the one of torture_mayfly.c, after the others */
#define T_NAMES 128		    /* of each domain; one L1 maps them all */
#define T_WORDS 8		    /* tracked words of a page */
#define T_MAPS 16		    /* alias entries of each thread */

/* Fixed names: tables that every domain has. */
enum { N_L4 = 1, N_L3, N_L2, N_DM, N_ALIAS, N_CHAOS, N_CHAOS2, N_L4B, N_FIRST_DATA = 12 };
#define N_DATA (T_NAMES - N_FIRST_DATA)
#define N_QUIET \
	(T_NAMES - 24) /* from here on only the direct map is writable: they become tables */

#define P_RW_AD (PTE_P | PTE_RW | PTE_A | PTE_D)
#define P_RO_A (PTE_P | PTE_A)
#define P_TABLE (PTE_P | PTE_RW | PTE_US | PTE_A | PTE_D)

/* Guest addresses: one L2; its slot 0 is the direct map. */
#define VA_DM(g) ((uint64_t)(g) << PAGE_SHIFT)
#define VA_ALIAS(i) (1UL << 21 | (uint64_t)(i) << PAGE_SHIFT)
#define VA_CHAOS(i) (2UL << 21 | (uint64_t)(i) << PAGE_SHIFT) /* two tables of 512 */
#define SLOT_TABLE(cpu) (8 + (cpu))
#define VA_TABLE(cpu, i) ((uint64_t)SLOT_TABLE(cpu) << 21 | (uint64_t)(i) << PAGE_SHIFT)

#define TORTURE_FRAMES 1700 /* small: every one is used again and again */
#define TORTURE_CAUGHT 42   /* exit status: something is wrong */
#define TORTURE_HUNG 43

enum torture_variant {
	V_NONE,
	V_NO_FLUSH,
	V_NO_RECHECK,
	V_EARLY_FREE,
	V_EARLY_ALIAS,
	V_NO_SWAP_FLUSH,
	V_NO_SHARE_FLUSH,
	V_VARIANTS
};
extern const char *const torture_variants[V_VARIANTS];
extern enum torture_variant torture_variant;

struct torture_config {
	uint64_t seed;
	unsigned mutators, scanners, domains;
	uint64_t frames;
	uint64_t ops;	 /* of each mutator in a round */
	uint64_t rounds; /* 0: until the time is over */
	double seconds;
	bool calm; /* this round: nothing that flushes for another reason, so that flushes are missed */
	bool slow; /* this round: pCPUs stand still more often */
};
extern struct torture_config tc;

struct rnd {
	uint64_t s;
};

static inline uint64_t rnd(struct rnd *r)
{
	r->s ^= r->s << 13;
	r->s ^= r->s >> 7;
	r->s ^= r->s << 17;
	return r->s * 0x2545f4914f6cdd1dULL;
}

static inline uint64_t rnd_to(struct rnd *r, uint64_t n)
{
	return (rnd(r) >> 11) % n;
}

static inline uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

/* ---- oracle ---------------------------------------------------------------------------------- */

enum name_kind { K_DATA, K_GONE, K_TABLE };

/* val is what memory holds while seq is even; a seqlock with memory as the payload. */
struct oword {
	_Atomic uint32_t seq;
	_Atomic uint64_t val;
};

struct oname {
	_Atomic int32_t users;	/* threads that write words; -1: taken exclusively */
	_Atomic uint32_t epoch; /* odd while taken exclusively */
	_Atomic uint32_t kind;
	_Atomic uint32_t tmpl;
	struct oword w[T_WORDS];
} CACHE_ALIGNED;

/* An alias entry: only its thread changes it; others read through it while it is public, that is,
 * since the guest flushed all its vCPUs after the last change. */
struct omap {
	_Atomic uint32_t seq;
	_Atomic uint32_t gfn; /* 0: not mapped */
	_Atomic bool rw, pub;
};

struct odom {
	struct domain *d;
	struct oname name[T_NAMES];
	struct omap map[T_MAX_CPUS * T_MAPS];
};
extern struct odom odoms[T_ALL_DOMS];

/** word_at() - where tracked word @slot is in its page. */
static inline unsigned word_at(unsigned slot)
{
	return slot * 73; /* the first word and the last */
}

/** tmpl_word() - what template @k has at word @i; template 0 is the zero page. */
static inline uint64_t tmpl_word(uint32_t k, unsigned i)
{
	return k ? 0x7eULL << 56 | mix(k * 512UL + i) >> 8 : 0;
}

#define UNIQUE_TAG 0xd0ULL
static inline uint64_t unique_word(unsigned dom, uint64_t gfn, uint64_t n)
{
	return (UNIQUE_TAG + dom) << 56 | gfn << 40 | (n & ((1ULL << 40) - 1));
}

bool name_use(struct oname *n);
void name_unuse(struct oname *n);
bool name_take(struct oname *n);
void name_give(struct oname *n, enum name_kind kind);
/** oracle_fill() - the name, taken exclusively, now is all template @k. */
void oracle_fill(struct oname *n, uint32_t k);
/** oracle_copy() - the name, taken exclusively, now is as @from. */
void oracle_copy(struct oname *to, const struct oname *from);

/* ---- pCPUs ----------------------------------------------------------------------------------- */

#define TLB_ENTRIES 128
struct sim_tlb {
	struct {
		uint64_t key, hw, gen; /* key: page number + 1 */
	} e[TLB_ENTRIES];
	struct {
		uint64_t region, l1, gen;
	} pde[8];
};

/* A page table of the thread's own: a data name made a table for a while. */
struct own_table {
	unsigned gfn; /* 0: none */
	bool linked;
	uint32_t map[T_MAPS];
	bool rw[T_MAPS];
};

enum stat {
	S_OPS,
	S_HITS,
	S_WALKS,
	S_FAULTS,
	S_NOMEM,
	S_WRITES,
	S_CHECKS,
	S_PAGES,
	S_REMAPS,
	S_COPIES,
	S_TABLES,
	S_GIVEN_UP,
	S_BACK,
	S_HYP_WRITES,
	S_GUARDED,
	S_MERGED,
	S_ZEROED,
	S_BROKEN,
	S_QUIET,
	S_SWAPPED,
	S_SAMPLED,
	S_LIVES,
	S_DIVIDED, /* the memory controller's */
	S_SHORT,
	S_TOLD,
	S_FOLLOWED,
	S_ORDERED,
	S_KINDS
};
extern const char *const stat_names[S_KINDS];

struct tcpu {
	unsigned id;
	struct sim_tlb tlb;
	unsigned dom; /* whose vCPU is current */
	struct rnd r; /* of the operation under way; reseeded for each */
	_Atomic uint64_t op;
	const char *_Atomic doing;
	struct own_table tab[T_ALL_DOMS];
	uint64_t unique;
	uint64_t n[S_KINDS];
	struct scanner *scan;
} CACHE_ALIGNED;
extern struct tcpu tcpus[T_MAX_CPUS];

static inline struct mm *tmm(const struct tcpu *t)
{
	return &odoms[t->dom].d->mm;
}

static inline struct oname *tname(const struct tcpu *t, uint64_t g)
{
	return &odoms[t->dom].name[g];
}

/** torture_fail() - say what is wrong and how to repeat it; ends the process. */
NORETURN void torture_fail(const char *fmt, ...) PRINTF(1, 2);

/** between() - what a pCPU does between two operations: serve others, callbacks. Quiescent. */
void between(void);

/* ---- simulated MMU --------------------------------------------------------------------------- */

/* A frame under access: valid until the pCPU next looks for requests of others. */
struct touch {
	_Atomic uint64_t *page;
	uint64_t m, gen;
};

void mmu_init(void);
void mmu_flush_all(struct tcpu *t);
/** guest_enter(), guest_leave() - RCU offline and online; accesses are in between. */
void guest_enter(void);
void guest_leave(void);
/** mmu_touch() - access the page of @va as the current vCPU; false: a fault for the guest. */
bool mmu_touch(struct tcpu *t, uint64_t va, bool write, struct touch *out);
/** mmu_done() - the access is over: its frame must not have been freed meanwhile. */
void mmu_done(const struct touch *t);
/** mmu_audit() - every entry of this pCPU's TLB maps a frame that is in use, and none that is shared
 * is writable. */
void mmu_audit(struct tcpu *t);

/** pick_name() - a data name for this thread's operation. */
uint64_t pick_name(struct tcpu *t);
/** pick_at(), hot_domain() - the same, and the domain, for a thread that has done @op operations. */
uint64_t pick_at(uint64_t op, struct rnd *r);
unsigned hot_domain(uint64_t op);

static inline uint64_t frame_state(uint64_t m)
{
	return atomic_load(&page_of(MFN(m))->state);
}

/* ---- actors ---------------------------------------------------------------------------------- */

void guest_op(struct tcpu *t);
void guest_begin(struct tcpu *t);
void guest_end(struct tcpu *t);
/** hyp_check() - the hypervisor reads a page of some domain, in one RCU section. */
void hyp_check(struct tcpu *t);
/** check_page() - compare all of a name's page with the oracle, through the MMU. */
void check_page(struct tcpu *t, uint64_t g);

void scan_begin(struct tcpu *t);
/** scan_step() - a bounded slice of scanning. */
void scan_step(struct tcpu *t, struct rnd *r);
/** scan_end() - finish what is under way. */
void scan_end(struct tcpu *t);

/** mayfly_begin() - before a round; mayfly_run() - the pCPU that gives lives to a domain. */
void mayfly_begin(void);
void mayfly_run(struct tcpu *t);
/** mayfly_domain() - that domain while it can be found, else NULL. RCU section. */
struct domain *mayfly_domain(void);
/** mayfly_counts - events counted by its lives that are over. */
extern int64_t mayfly_counts[MMC_KINDS];

/** mayfly_id() - its id: one that the controller swaps on that pCPU. */
domid_t mayfly_id(void);

/** torture_domain() - domain_by_id() of the core's parts that the torture compiles. */
struct domain *torture_domain(domid_t id);

/** policy_machine() - the memory controller as before its start. */
void policy_machine(void);
/** policy_domain() - put @d under it, with a balloon or without; false: not admitted. */
bool policy_domain(struct domain *d, struct rnd *r, bool balloon);
/** policy_start() - on each pCPU, before the round; policy_run() - the pCPU that changes settings
 * and takes memory. */
void policy_start(struct tcpu *t);
void policy_run(struct tcpu *t);
/** policy_tick_stop(), policy_swap_stop() - on each pCPU, when no one asks for a tick any more, and
 * when there are none. */
void policy_tick_stop(struct tcpu *t);
void policy_swap_stop(struct tcpu *t);
/** policy_rest_check() - all domains are gone: nothing stays promised. */
void policy_rest_check(void);

/** torture_working() - whether the mutators are still at it. */
bool torture_working(void);
/** torture_tables() - the fixed tables of a fresh domain; false: no memory. */
bool torture_tables(struct mm *mm);
/** torture_vcpu() - a vCPU @k of @d. */
struct vcpu *torture_vcpu(struct domain *d, unsigned k);

/** torture_swap_init() - use a swap device of the torture's own, empty. */
void torture_swap_init(void);
/** torture_swap_out() - store the page of a settled name; with @flush so that it comes back without. */
bool torture_swap_out(struct mm *mm, gfn_t gfn, uint64_t word, const void *page, bool flush);

/** rest_check() - everything is at rest: states, counters, references, leaves. */
void rest_check(void);

/** torture_run() - as tc says. Returns 0 or does not return. */
int torture_run(void);
void torture_print(void);

#endif
