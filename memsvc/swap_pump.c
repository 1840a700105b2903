/* SPDX-License-Identifier: MIT */
/*
 * Swapping out names chosen at random: any fixed order could be the worst one for some guest, and to
 * know what is needed least would take its accessed bits (ESX, section 5.3).
 *
 * Each pCPU has a few pumps, each with one batch of one domain: names are guarded, their mm is
 * flushed, a grace period passes (call_rcu), then they are settled and stored, and the mm is flushed
 * once more: what comes back then needs no flush of its own. A batch of names that the scanner has
 * settled is stored at once.
 * Private to the pCPU, callbacks included.
 */
#include "core/xen_errno.h"
#include "memsvc/name.h"
#include "memsvc/p2m.h"
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
		uint64_t word; /* guarded; before @at: swapped, or 0 */
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

/*
 * page_info.dom.refused: visits left to skip (bits 24-31), the same at the last refusal (16-23), and
 * the generation of the word whose content was refused (0-15; 0: none). Loads and stores only, as
 * the scanner's note.
 *
 * As long as the word is the same so is the content, and the answer. When the guest has written since
 * it probably still has what does not get smaller, so the frame is left alone for 1, 3, 7, 15
 * visits: for a guest full of such pages most visits then cost a look, not a guard, a fault and a
 * compression; and one that has changed its mind is found after a few passes.
 */
#define REFUSED_MAX 15u
#define NOTE(skip, last, gen) ((skip) << 24 | (last) << 16 | (gen))
#define NOTE_SKIP(n) ((n) >> 24)
#define NOTE_LAST(n) ((n) >> 16 & 0xff)
#define NOTE_GEN(n) ((n)&0xffff)

static uint32_t note_gen(uint64_t word)
{
	return (uint32_t)(word >> P2M_GEN_SHIFT & 0xffff) | 1;
}

static void refuse(uint64_t word)
{
	struct page_info *pi = page_of(p2m_mfn(word));
	uint32_t n = atomic_load_explicit(&pi->dom.refused, memory_order_relaxed);
	uint32_t skip = MIN(NOTE_LAST(n) * 2 + 1, REFUSED_MAX);

	atomic_store_explicit(&pi->dom.refused, NOTE(skip, skip, note_gen(word)),
			      memory_order_relaxed);
}

/* Whether the page behind a name is not worth a try now. @word: when it is settled, else 0. */
static bool refused(struct mm *mm, gfn_t gfn, uint64_t word)
{
	struct name_view v;
	struct page_info *pi;
	uint32_t n;

	name_look(mm, gfn, &v);
	if (v.state != NAME_PRIVATE)
		return !word;
	pi = page_of(v.mfn);
	n = atomic_load_explicit(&pi->dom.refused, memory_order_relaxed);
	if (word && NOTE_GEN(n) == note_gen(word))
		return true;
	if (!NOTE_SKIP(n))
		return false;
	atomic_store_explicit(&pi->dom.refused, n - NOTE(1u, 0u, 0u), memory_order_relaxed);
	return true;
}

/* Returns the swapped word, or 0. */
static uint64_t store(struct step *s, struct mm *mm, gfn_t gfn, uint64_t word)
{
	uint64_t swapped = 0;
	int rc = swap_out(mm, gfn, word, &swapped);

	s->tries++;
	s->out += !rc;
	s->full = rc == -XEN_ENOMEM;
	if (rc == -XEN_E2BIG && name_is(mm, gfn, word))
		refuse(word);
	return swapped;
}

/* All of the batch is stored or left: one flush, and those that went need none to come back. */
static void batch_over(struct pump *p)
{
	bool any = false;

	for (unsigned i = 0; i < p->n; i++)
		any |= p->name[i].word != 0;
	if (any)
		tlb_shootdown_mm(p->mm);
	for (unsigned i = 0; i < p->n; i++)
		if (p->name[i].word)
			name_flushed(p->mm, p->name[i].gfn, p->name[i].word);
	p->n = p->at = 0;
}

static void store_batch(struct pump *p, struct step *s)
{
	bool more = true;

	for (; p->at < p->n; p->at++) {
		gfn_t gfn = p->name[p->at].gfn;
		uint64_t word = p->name[p->at].word;

		if (more && enough(s)) {
			if (s->out < s->want && !s->full)
				return; /* the slice is over */
			more = false;
		}
		/* Those that are not wanted are settled all the same: a guard that never settles keeps
		 * off every other use of the name. */
		p->name[p->at].word =
			name_settle(p->mm, gfn, word) && more ? store(s, p->mm, gfn, word) : 0;
	}
	batch_over(p);
}

static void choose(struct pumps *ps, struct pump *p, struct step *s)
{
	uint64_t names = p->mm->max_pages;
	bool guarded = false;

	for (unsigned i = 0; i < LOOK_MAX && s->out + p->n < s->want && p->n < BATCH; i++) {
		gfn_t gfn = GFN(random_to(ps, names));
		uint64_t word = name_settled_word(p->mm, gfn);

		if (refused(p->mm, gfn, word))
			continue;
		if (!word) {
			word = name_guard(p->mm, gfn);
			guarded |= word;
		}
		if (!word)
			continue;
		p->name[p->n].gfn = gfn;
		p->name[p->n++].word = word;
	}
	if (!p->n)
		return;
	if (!guarded) {
		store_batch(p, s);
		return;
	}
	tlb_shootdown_mm(p->mm);
	p->in_gp = true;
	call_rcu_hurry(&p->rcu, grace_period_over);
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
