/* SPDX-License-Identifier: MIT */
/* Frame table, bump allocation of never-used memory, depot of magazines; see frame.h. */
#include "memsvc/frame.h"

#include "core/lib.h"
#include "core/xen_errno.h"
#include "percpu/pcpu.h"

#define MAX_RANGES 64
#define RUN MAGAZINE_SIZE
#define STRETCH_MAX 4096UL /* 16 MiB */

/* A range as the bump sees it: [start, start + padded) of one long index space; padded is a
 * multiple of RUN, so that no run crosses a border. */
struct bump_range {
	uint64_t first; /* mfn */
	uint64_t n;
	uint64_t start;
};

struct page_info *frame_table;

static struct bump_range ranges[MAX_RANGES];
static unsigned nr_ranges;
static uint64_t total, max_mfn;
static mfn_t zero_frame;
_Atomic bool memory_tight, memory_short;
static struct counter nr_urgent = {.name = "frames_of_reserve"};
static struct counter nr_refused = {.name = "reserve_used_up"};
/* Never-used memory that a pCPU has claimed, in runs: next << 32 | end. Only its pCPU fills it, when
 * it is empty; the pCPU, and when no other memory is left anyone, takes runs from it by a CAS. Indexes
 * only grow, so no value comes twice. */
static struct {
	_Atomic uint64_t word CACHE_ALIGNED;
} stretches[MAX_PCPUS];
static _Atomic bool all_used; /* no never-used memory is left, claimed or not; for good */
/* Written by all pCPUs, each with a line to itself: what is around them is only read. */
static struct {
	/* Next index of never-used memory that no pCPU has claimed. */
	_Atomic uint64_t bump CACHE_ALIGNED;
	/* Depot: tag << 36 | mfn of the first magazine's first frame; 0 in the low part: empty. */
	_Atomic uint64_t depot CACHE_ALIGNED;
	/* Frames in use that no page cache counted: contiguous ones, and of threads without one. */
	_Atomic int64_t uncounted CACHE_ALIGNED;
} CACHE_ALIGNED shared;

#define MFN_BITS 36
#define MFN_MASK ((1ULL << MFN_BITS) - 1)

static uint64_t padded(const struct bump_range *r)
{
	return ROUND_UP(r->n, (uint64_t)RUN);
}

/* The largest range pays for the table and the zero frame, from its end. */
static int place_table(uint64_t min_mfn)
{
	uint64_t pages = DIV_ROUND_UP((max_mfn - min_mfn) * sizeof(struct page_info), PAGE_SIZE);
	struct bump_range *best = NULL;

	for (unsigned i = 0; i < nr_ranges; i++)
		if (!best || ranges[i].n > best->n)
			best = &ranges[i];
	if (!best || best->n <= pages + 1)
		return -XEN_ENOMEM;
	best->n -= pages + 1;
	zero_frame = MFN(best->first + best->n);
	frame_table = (struct page_info *)arch_mfn_to_virt(MFN(zero_frame.v + 1)) - min_mfn;
	return 0;
}

int frames_init(const struct mem_range *r, unsigned n)
{
	uint64_t min_mfn = UINT64_MAX, start = 0;
	int rc;

	nr_ranges = 0;
	total = max_mfn = 0;
	atomic_store(&page_reserve_size, 0);
	atomic_store(&page_reserve_low, 0);
	for (unsigned i = 0; i < n && nr_ranges < MAX_RANGES; i++) {
		uint64_t first = DIV_ROUND_UP(r[i].base, PAGE_SIZE);
		uint64_t end = (r[i].base + r[i].size) / PAGE_SIZE;

		first = MAX(first, 1UL); /* 0 means "none" in the lists */
		if (end <= first)
			continue;
		ranges[nr_ranges++] = (struct bump_range){.first = first, .n = end - first};
		min_mfn = MIN(min_mfn, first);
		max_mfn = MAX(max_mfn, end);
	}
	BUG_ON(max_mfn > UINT32_MAX); /* P2M words and name pages have 32 bits */
	rc = place_table(min_mfn);
	if (rc)
		return rc;
	for (unsigned i = 0; i < nr_ranges; i++) {
		ranges[i].start = start;
		start += padded(&ranges[i]);
		total += ranges[i].n;
	}
	atomic_store(&shared.bump, 0);
	for (unsigned i = 0; i < MAX_PCPUS; i++)
		atomic_store_explicit(&stretches[i].word, 0, memory_order_relaxed);
	atomic_store(&all_used, false);
	atomic_store(&shared.depot, 0);
	atomic_store(&shared.uncounted, 0);
	memset(arch_mfn_to_virt(zero_frame), 0, PAGE_SIZE);
	memset(page_of(zero_frame), 0, sizeof(struct page_info));
	atomic_store(&page_of(zero_frame)->state, PG_STATE(PG_SHARED, PG_NO_OWNER, 0));
	atomic_store(&page_of(zero_frame)->dom.refs, 1);
	return 0;
}

mfn_t share_zero_frame(void)
{
	return zero_frame;
}

void frame_record_init(mfn_t m)
{
	atomic_store_explicit(&page_of(m)->state, PG_STATE(PG_FREE, PG_NO_OWNER, 0),
			      memory_order_relaxed);
}

static uint64_t index_end(void)
{
	return ranges[nr_ranges - 1].start + padded(&ranges[nr_ranges - 1]);
}

/* Index of a run of the stretch of @cpu. Relaxed: runs carry no data but their number. */
static bool stretch_take(unsigned cpu, uint64_t *at)
{
	_Atomic uint64_t *word = &stretches[cpu].word;
	uint64_t old = atomic_load_explicit(word, memory_order_relaxed);
	CAS_LOOP(loop, "never-used memory of a pCPU");

	do {
		if (old >> 32 == (uint32_t)old)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(word, &old, old + (1ULL << 32),
							memory_order_relaxed,
							memory_order_relaxed) &&
		 retry(&loop));
	retry_done(&loop);
	*at = (old >> 32) * RUN;
	return true;
}

/* Index of a run that nobody has claimed. A pCPU claims more, as long as there is plenty: what all
 * together claim is a fraction of what is left. */
static bool claim(struct pcpu *p, uint64_t *at)
{
	uint64_t end = index_end(), n = RUN;
	uint64_t used = atomic_load_explicit(&shared.bump, memory_order_relaxed);

	if (used >= end)
		return false;
	if (p)
		n = MIN(MAX((end - used) / 16 / nr_pcpus() / RUN, 1UL) * RUN, STRETCH_MAX);
	*at = atomic_fetch_add_explicit(&shared.bump, n, memory_order_relaxed);
	if (*at >= end)
		return false;
	if (n > RUN)
		atomic_store_explicit(&stretches[p->id].word,
				      (*at / RUN + 1) << 32 | MIN(*at + n, end) / RUN,
				      memory_order_relaxed);
	return true;
}

static bool take_any(uint64_t *at)
{
	if (atomic_load_explicit(&all_used, memory_order_relaxed))
		return false;
	for (unsigned i = 0; i < MAX_PCPUS; i++)
		if (stretch_take(i, at))
			return true;
	/* A stretch that is just being claimed is left to its pCPU, which looks there first. */
	atomic_store_explicit(&all_used, true, memory_order_relaxed);
	return false;
}

bool frames_bump(uint64_t *next, uint64_t *end)
{
	struct pcpu *p = this_pcpu();
	uint64_t at;

	while ((p && stretch_take(p->id, &at)) || claim(p, &at) || take_any(&at)) {
		for (unsigned i = 0; i < nr_ranges; i++) {
			struct bump_range *r = &ranges[i];

			if (at < r->start || at >= r->start + padded(r))
				continue;
			*next = r->first + (at - r->start);
			*end = MIN(*next + RUN, r->first + r->n);
			if (*next < *end)
				return true;
		}
	}
	return false;
}

/* Release: who pops the magazine sees its links. PAIRS: depot */
void depot_push(const struct magazine *m)
{
	struct page_info *pi = page_of(MFN(m->head));
	uint64_t old = atomic_load_explicit(&shared.depot, memory_order_relaxed);
	CAS_LOOP(loop, "depot of free frames, put");

	do {
		atomic_store_explicit(&pi->mag_next, (uint64_t)m->n << MFN_BITS | (old & MFN_MASK),
				      memory_order_relaxed);
	} while (!atomic_compare_exchange_weak_explicit(
			 &shared.depot, &old, ((old >> MFN_BITS) + 1) << MFN_BITS | m->head,
			 memory_order_release, memory_order_relaxed) &&
		 retry(&loop));
}

/* Acquire. mag_next may be that of a magazine popped meanwhile: then the tag differs. PAIRS: depot */
bool depot_pop(struct magazine *m)
{
	uint64_t old = atomic_load_explicit(&shared.depot, memory_order_acquire);
	struct page_info *pi;
	uint64_t next;
	CAS_LOOP(loop, "depot of free frames, get");

	do {
		if (!(old & MFN_MASK))
			return false;
		pi = page_of(MFN(old & MFN_MASK));
		next = atomic_load_explicit(&pi->mag_next, memory_order_relaxed);
	} while (!atomic_compare_exchange_weak_explicit(
			 &shared.depot, &old,
			 ((old >> MFN_BITS) + 1) << MFN_BITS | (next & MFN_MASK),
			 memory_order_acquire, memory_order_acquire) &&
		 retry(&loop));
	m->head = old & MFN_MASK;
	m->n = (uint32_t)(next >> MFN_BITS);
	return true;
}

bool frames_unclaimed(void)
{
	return atomic_load_explicit(&shared.depot, memory_order_relaxed) & MFN_MASK ||
	       atomic_load_explicit(&shared.bump, memory_order_relaxed) < index_end();
}

/* Threads without a pCPU, and the boot CPU before it has one: a cache for one frame. */
static mfn_t get_uncounted(void)
{
	struct page_cache c = {0};
	mfn_t f = page_cache_get(&c);

	if (mfn_valid_value(f))
		atomic_fetch_add_explicit(&shared.uncounted, 1, memory_order_relaxed);
	page_cache_drain(&c);
	return f;
}

static void put_uncounted(mfn_t f)
{
	struct page_cache c = {0};

	page_cache_put(&c, f);
	page_cache_drain(&c);
	atomic_fetch_sub_explicit(&shared.uncounted, 1, memory_order_relaxed);
}

static void free_after_gp(struct rcu_head *h)
{
	page_free(mfn_of(container_of((void *)h, struct page_info, rcu)));
}

void page_free_rcu(mfn_t m)
{
	_Static_assert(sizeof(struct rcu_head) <= sizeof(page_of(m)->rcu), "fits the record");
	call_rcu((struct rcu_head *)page_of(m)->rcu, free_after_gp);
}

void page_set_type(struct page_info *pi, enum page_type from, enum page_type to, uint16_t owner)
{
	uint64_t old = atomic_load_explicit(&pi->state, memory_order_relaxed);
	uint64_t new;
	CAS_LOOP(loop, "frame's state");

	do {
		BUG_ON((old & 0xff) != from);
		new = PG_STATE(to, owner, (old >> 24) + (to == PG_FREE));
	} while (!atomic_compare_exchange_weak_explicit(&pi->state, &old, new, memory_order_acq_rel,
							memory_order_relaxed) &&
		 retry(&loop));
}

/* For who cannot wait: one of the reserve. The next caller will find what waited for a flush. */
static __attribute__((noinline)) mfn_t none_free(struct pcpu *p)
{
	mfn_t f = INVALID_MFN;

	if (p->pages.urgent) {
		f = page_cache_get_reserve(&p->pages);
		p->work |= WORK_MEMORY; /* no guest before it has been refilled */
		counter_register(&nr_urgent);
		counter_register(&nr_refused);
		p->pages.refused = !mfn_valid_value(f);
		counter_inc(p->pages.refused ? &nr_refused : &nr_urgent);
	}
	tlb_retire_drain();
	tlb_drain_all();
	return f;
}

mfn_t page_alloc(unsigned flags)
{
	struct pcpu *p = this_pcpu();
	mfn_t f = likely(p) ? page_cache_get(&p->pages) : get_uncounted();

	if (unlikely(!mfn_valid_value(f))) {
		if (p)
			f = none_free(p);
		if (!mfn_valid_value(f))
			return f;
	}
	page_set_type(page_of(f), PG_FREE, PG_HYP, PG_NO_OWNER);
	if (flags & PAGE_ALLOC_ZERO)
		memset(arch_mfn_to_virt(f), 0, PAGE_SIZE);
	return f;
}

mfn_t page_alloc_urgent(unsigned flags)
{
	struct page_cache *c = &this_pcpu()->pages;
	bool was = c->urgent;
	mfn_t f;

	c->urgent = true;
	f = page_alloc(flags);
	c->urgent = was;
	return f;
}

void page_reserve_init(void)
{
	uint64_t n = MIN(MAX(total / 128 / nr_pcpus(), 32UL), total / 32 / nr_pcpus());

	n = MIN(n, (uint64_t)MAGAZINE_SIZE);
	atomic_store_explicit(&page_reserve_size, (unsigned)n, memory_order_relaxed);
	atomic_store_explicit(&page_reserve_low, (unsigned)n / 2, memory_order_relaxed);
	page_cache_refill(&this_pcpu()->pages); /* the others at their next exit */
}

void page_free(mfn_t f)
{
	struct page_info *pi = page_of(f);
	struct pcpu *p = this_pcpu();
	enum page_type t = page_type(pi);

	BUG_ON(t == PG_FREE);
	page_set_type(pi, t, PG_FREE, PG_NO_OWNER);
	if (likely(p))
		page_cache_put(&p->pages, f);
	else
		put_uncounted(f);
}

mfn_t frames_alloc_contig(uint64_t n)
{
	uint64_t old = atomic_load(&shared.bump), new, at = 0;
	struct bump_range *r = NULL;
	CAS_LOOP(loop, "frames in a row");

	do {
		unsigned i;

		for (i = 0; i < nr_ranges; i++) {
			r = &ranges[i];
			at = MAX(old, r->start);
			if (at - r->start + n <= r->n)
				break;
		}
		if (i == nr_ranges)
			return INVALID_MFN;
		new = at + ROUND_UP(n, (uint64_t)RUN);
	} while (!atomic_compare_exchange_weak(&shared.bump, &old, new) && retry(&loop));
	retry_done(&loop);

	atomic_fetch_add(&shared.uncounted, (int64_t)n);
	/* Frames passed over, before and behind, go to the depot in magazines. */
	struct page_cache c = {0};
	uint64_t taken = r->first + (at - r->start);

	for (unsigned i = 0; i < nr_ranges; i++) {
		struct bump_range *s = &ranges[i];

		for (uint64_t x = MAX(old, s->start); x < new &&x < s->start + s->n; x++) {
			uint64_t f = s->first + (x - s->start);

			frame_record_init(MFN(f));
			if (f >= taken && f < taken + n)
				page_set_type(page_of(MFN(f)), PG_FREE, PG_HYP, PG_NO_OWNER);
			else
				page_cache_put(&c, MFN(f));
		}
	}
	page_cache_drain(&c);
	return MFN(taken);
}

uint64_t frames_total(void)
{
	return total;
}

uint64_t frames_max_mfn(void)
{
	return max_mfn;
}

uint64_t frames_free_count(void)
{
	int64_t used = atomic_load(&shared.uncounted);

	for (unsigned i = 0; i < nr_pcpus(); i++) {
		struct pcpu *p = pcpu_get(i);

		if (p)
			used += (int64_t)(atomic_load(&p->pages.allocs) -
					  atomic_load(&p->pages.frees));
	}
	return total - (uint64_t)used;
}
