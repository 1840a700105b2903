/* SPDX-License-Identifier: MIT */
/*
 * A second scanner, over the name API alone, beside that of memsvc/scan.c: guard a batch, flush, let
 * a grace period pass, then hash, compare, merge, or swap out. What both rely on it checks: the
 * contents of a settled name are the same as long as its word is. What it has seen in its life is in
 * a small array instead of the sharing table.
 */
#include <unistd.h>

#include "memsvc/page_hash.h"
#include "memsvc/swap.h"
#include "torture.h"

#define BATCH 48

struct candidate {
	unsigned dom;
	gfn_t gfn;
	uint64_t word, hash;
};

struct scanner {
	enum { IDLE, WAITING, MERGING } state;
	_Atomic bool gp_over;
	struct rcu_head rcu;
	unsigned n, at;
	struct candidate c[BATCH];
	struct candidate seen[64]; /* by hash */
} CACHE_ALIGNED;

static struct scanner scanners[T_MAX_CPUS];

static void gp_over(struct rcu_head *h)
{
	atomic_store(&container_of(h, struct scanner, rcu)->gp_over, true);
}

static struct mm *mm_at(unsigned dom)
{
	return &odoms[dom].d->mm;
}

static void guard(struct tcpu *t, struct scanner *s, struct rnd *r)
{
	uint64_t at = atomic_load_explicit(&tcpus[0].op, memory_order_relaxed);
	unsigned doms = 0;

	s->n = 0;
	for (unsigned i = 0; i < BATCH; i++) {
		struct candidate *c = &s->c[s->n];

		/* Where the mutators are. */
		c->dom = rnd_to(r, 2) ? hot_domain(at) : (unsigned)rnd_to(r, tc.domains);
		c->gfn = GFN(pick_at(at, r));
		c->word = name_guard(mm_at(c->dom), c->gfn);
		if (!c->word)
			continue;
		doms |= 1u << c->dom;
		s->n++;
		t->n[S_GUARDED]++;
	}
	for (unsigned d = 0; d < tc.domains; d++)
		if (doms >> d & 1 && torture_variant != V_NO_FLUSH)
			tlb_shootdown_mm(mm_at(d));
	atomic_store(&s->gp_over, false);
	call_rcu(&s->rcu, gp_over);
	s->state = WAITING;
}

/* The page of a guarded candidate, or NULL when it has changed. */
static const uint64_t *page_of_candidate(const struct candidate *c)
{
	struct name_view v;

	name_look(mm_at(c->dom), c->gfn, &v);
	if (v.word != c->word || v.state != NAME_PRIVATE || !v.guarded)
		return NULL;
	return arch_mfn_to_virt(v.mfn);
}

/* The shared frame that @o's name means now, which is made one if need be; with a reference. */
static bool shared_frame(const struct candidate *o, mfn_t *f)
{
	struct name_view v;

	name_look(mm_at(o->dom), o->gfn, &v);
	if (v.word == o->word && v.guarded && v.state == NAME_PRIVATE) {
		if (!name_promote(mm_at(o->dom), o->gfn, o->word))
			return false;
		name_look(mm_at(o->dom), o->gfn, &v);
	}
	if (v.state != NAME_SHARED || v.zero)
		return false;
	*f = v.mfn;
	return share_get(*f);
}

/* A name has been swung to a shared frame: one may flush for it, or leave it. */
static void merged(struct candidate *c, uint64_t word, struct rnd *r)
{
	bool without = torture_variant == V_NO_SHARE_FLUSH;

	/* A variant's missing flush must not be made up for. */
	if (!without && (torture_variant || rnd_to(r, 2)))
		return;
	if (!without)
		tlb_shootdown_mm(mm_at(c->dom));
	name_flushed(mm_at(c->dom), c->gfn, word);
	/* As the hypervisor does before a write, soon enough to find who has the old frame cached. */
	if (without || !rnd_to(r, 8))
		name_touch(mm_at(c->dom), c->gfn.v, true, false);
	if (without)
		usleep(200); /* the others look at what they have cached */
}

static void merge(struct tcpu *t, struct scanner *s, struct candidate *c, struct rnd *r)
{
	struct mm *m = mm_at(c->dom);
	const uint64_t *page;
	struct candidate *o;
	uint64_t word = 0;
	mfn_t f;

	if (!name_settle(m, c->gfn, c->word))
		return;
	page = page_of_candidate(c);
	if (!page)
		return;
	c->hash = page_hash(page);
	if (!rnd_to(r, 8))
		sched_yield();
	if (page_hash(page) != c->hash && name_is(m, c->gfn, c->word))
		torture_fail("guarded name %lu of domain %u changed", (unsigned long)c->gfn.v,
			     c->dom);
	if (page_is_zero(page)) {
		if (name_is(m, c->gfn, c->word))
			word = name_share_zero(m, c->gfn, c->word);
		if (word) {
			t->n[S_ZEROED]++;
			merged(c, word, r);
		}
		return;
	}
	if (!name_is(m, c->gfn, c->word))
		return;
	if (torture_variant != V_NO_SHARE_FLUSH &&
	    !rnd_to(r, torture_variant == V_NO_SWAP_FLUSH ? 2 : 6)) {
		t->n[S_SWAPPED] += torture_swap_out(m, c->gfn, c->word, page, rnd_to(r, 2));
		return;
	}
	o = &s->seen[c->hash % ARRAY_SIZE(s->seen)];
	if (o->hash != c->hash || (o->dom == c->dom && o->gfn.v == c->gfn.v) ||
	    !shared_frame(o, &f)) {
		*o = *c;
		return;
	}
	if (page_equal(arch_mfn_to_virt(f), page))
		word = name_share(m, c->gfn, c->word, f);
	if (word) {
		t->n[S_MERGED]++;
		merged(c, word, r);
	} else {
		share_put(f, NULL);
		*o = *c;
	}
}

static void sample(struct tcpu *t, struct rnd *r)
{
	unsigned dom = (unsigned)rnd_to(r, tc.domains);
	gfn_t g = GFN(N_FIRST_DATA + rnd_to(r, N_DATA));

	if (rnd_to(r, 2)) {
		if (name_sample(mm_at(dom), g))
			tlb_shootdown_mm(mm_at(dom));
	} else {
		t->n[S_SAMPLED] += name_sample_end(mm_at(dom), g);
	}
}

/* Memory is short, and taken away at random; for a moment guests may have none. */
static void squeeze(struct tcpu *t, struct rnd *r)
{
	t->n[S_SWAPPED] +=
		swap_pump(mm_at((unsigned)rnd_to(r, tc.domains)), 1 + (unsigned)rnd_to(r, 80));
	atomic_store(&memory_tight, !rnd_to(r, 8));
	atomic_store(&memory_short, rnd_to(r, 2));
}

void scan_begin(struct tcpu *t)
{
	t->scan = &scanners[t->id];
	memset(t->scan, 0, sizeof(*t->scan));
}

void scan_step(struct tcpu *t, struct rnd *r)
{
	struct scanner *s = t->scan;

	if (!rnd_to(r, 32))
		atomic_store_explicit(&memory_tight, false, memory_order_relaxed);
	switch (s->state) {
	case IDLE:
		if (!tc.calm && !rnd_to(r, 4))
			sample(t, r);
		else if (!tc.calm && !rnd_to(r, 4))
			squeeze(t, r);
		else
			guard(t, s, r);
		break;
	case WAITING:
		if (atomic_load(&s->gp_over)) {
			s->state = MERGING;
			s->at = 0;
		}
		break;
	default:
		for (unsigned i = 0; i < 8 && s->at < s->n; i++)
			merge(t, s, &s->c[s->at++], r);
		if (s->at == s->n)
			s->state = IDLE;
		break;
	}
}

void scan_end(struct tcpu *t)
{
	while (t->scan->state == WAITING && !atomic_load(&t->scan->gp_over))
		between();
	t->scan->state = IDLE;
	atomic_store(&memory_tight, false);
	for (unsigned d = 0; d < tc.domains; d++)
		swap_pump_stop(mm_at(d));
}
