/* SPDX-License-Identifier: MIT */
/*
 * Swapping out names chosen at random: any fixed order could be the worst one for some guest, and to
 * know what is needed least would take its accessed bits (ESX, section 5.3).
 *
 * Each pCPU has a few pumps, each with one batch of one domain: names are guarded, their mm is
 * flushed, a grace period passes (call_rcu), then they are settled and stored. A name that the
 * scanner has settled already is stored at once.
 * Private to the pCPU, callbacks included.
 */
#include "core/xen_errno.h"
#include "memsvc/name.h"
#include "memsvc/swap.h"
#include "memsvc/swap_pump.h"
#include "percpu/pcpu.h"

#define PUMPS 3
#define BATCH 80
/* Names looked at by one call: most of a domain may be void, shared or swapped already. */
#define LOOK_MAX 1024
/* A call ends soon after this, and has stored a few even when the clock runs fast. */
#define SLICE_NS NS_PER_MS
#define STORE_MIN 4

struct pump {
	struct mm *mm; /* NULL: unused, once in_gp is false */
	bool in_gp;
	unsigned n, at; /* names in the batch, and how many of them are done */
	struct rcu_head rcu;
	struct {
		gfn_t gfn;
		uint64_t word;
	} name[BATCH];
};

struct pumps {
	uint64_t seed;
	struct pump pump[PUMPS];
};
_Static_assert(sizeof(struct pumps) <= PAGE_SIZE, "a frame per pCPU");

static struct pumps *pumps[MAX_PCPUS];

int swap_pump_init(unsigned pcpus)
{
	for (unsigned i = 0; i < pcpus; i++) {
		mfn_t m = page_alloc(PAGE_ALLOC_ZERO);

		if (!mfn_valid_value(m))
			return -XEN_ENOMEM;
		pumps[i] = arch_mfn_to_virt(m);
		pumps[i]->seed = (i + 1) * 0x9e3779b97f4a7c15ULL;
	}
	return 0;
}

static uint64_t random_to(struct pumps *ps, uint64_t n)
{
	ps->seed ^= ps->seed << 13;
	ps->seed ^= ps->seed >> 7;
	ps->seed ^= ps->seed << 17;
	return (ps->seed * 0x2545f4914f6cdd1dULL >> 11) % n;
}

static struct pump *pump_of(struct pumps *ps, struct mm *mm)
{
	struct pump *unused = NULL;

	for (unsigned i = 0; i < PUMPS; i++) {
		struct pump *p = &ps->pump[i];

		if (p->mm == mm)
			return p;
		if (!p->mm && !p->in_gp)
			unused = p;
	}
	return unused;
}

static void grace_period_over(struct rcu_head *h)
{
	container_of(h, struct pump, rcu)->in_gp = false;
}

/* What one call has done. */
struct step {
	uint64_t until;
	unsigned want, out, tries;
	bool full; /* no room in the device */
};

static bool enough(const struct step *s)
{
	return s->out >= s->want || s->full || (s->tries >= STORE_MIN && arch_now_ns() >= s->until);
}

static void store(struct step *s, struct mm *mm, gfn_t gfn, uint64_t word)
{
	int rc = swap_out(mm, gfn, word);

	s->tries++;
	s->out += !rc;
	s->full = rc == -XEN_ENOMEM;
}

static void store_batch(struct pump *p, struct step *s)
{
	bool more = true;

	for (; p->at < p->n; p->at++) {
		if (more && enough(s)) {
			if (s->out < s->want && !s->full)
				return; /* the slice is over */
			more = false;
		}
		/* Those that are not wanted are settled all the same: a guard that never settles keeps
		 * off every other use of the name. */
		if (name_settle(p->mm, p->name[p->at].gfn, p->name[p->at].word) && more)
			store(s, p->mm, p->name[p->at].gfn, p->name[p->at].word);
	}
	p->n = p->at = 0;
}

static void choose(struct pumps *ps, struct pump *p, struct step *s)
{
	uint64_t names = p->mm->max_pages;

	for (unsigned i = 0; i < LOOK_MAX && s->out + p->n < s->want && p->n < BATCH; i++) {
		gfn_t gfn = GFN(random_to(ps, names));
		uint64_t word = name_settled_word(p->mm, gfn);

		if (enough(s))
			break;
		if (word) {
			store(s, p->mm, gfn, word);
			continue;
		}
		word = name_guard(p->mm, gfn);
		if (!word)
			continue;
		p->name[p->n].gfn = gfn;
		p->name[p->n++].word = word;
	}
	if (!p->n)
		return;
	tlb_shootdown_mm(p->mm);
	p->in_gp = true;
	call_rcu(&p->rcu, grace_period_over);
}

unsigned swap_pump(struct mm *mm, unsigned want)
{
	struct pumps *ps = pumps[this_pcpu()->id];
	struct pump *p = ps ? pump_of(ps, mm) : NULL;
	struct step s = {.want = want, .until = arch_now_ns() + SLICE_NS};

	if (!p || p->in_gp || !want)
		return 0;
	p->mm = mm;
	store_batch(p, &s);
	if (!p->n && !enough(&s))
		choose(ps, p, &s);
	if (!p->n)
		p->mm = NULL;
	return s.out;
}

void swap_pump_stop(struct mm *mm)
{
	struct pumps *ps = pumps[this_pcpu()->id];

	for (unsigned i = 0; ps && i < PUMPS; i++)
		if (ps->pump[i].mm == mm) {
			ps->pump[i].mm = NULL;
			ps->pump[i].n = ps->pump[i].at = 0;
		}
}
