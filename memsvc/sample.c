/* SPDX-License-Identifier: MIT */
/* Working sets by sampling; see sample.h. */
#include "memsvc/sample.h"

#include "memsvc/name.h"
#include "memsvc/policy.h"
#include "percpu/tlb.h"

/* A name is drawn up to this many times per name wanted: domains have names
 * with no frame. */
#define DRAWS 16
/* Real time that a period may take, in multiples of the run time it is meant to
 * last. */
#define REAL_MAX 2
#define FAST_SHIFT 1
#define SLOW_SHIFT 3

static uint32_t blend(uint32_t average, uint32_t value, unsigned shift)
{
	int64_t a = average;

	return (uint32_t)(a + ((int64_t)value - a) / (1 << shift));
}

static uint32_t fraction(uint32_t touched, uint32_t n)
{
	return (uint32_t)((uint64_t)touched * POLICY_ONE / n);
}

void sampler_period_end(struct sampler *s, uint32_t touched, uint32_t n)
{
	s->n = s->touched = s->looks = 0;
	if (!n)
		return;
	if (s->primed) {
		s->fast = blend(s->fast, fraction(touched, n), FAST_SHIFT);
		s->slow = blend(s->slow, fraction(touched, n), SLOW_SHIFT);
	} else {
		s->fast = s->slow = fraction(touched, n);
		s->primed = true;
	}
}

uint32_t sampler_estimate(const struct sampler *s)
{
	uint32_t running = 0;

	if (!s->primed)
		return POLICY_ONE;
	if (s->n)
		running = blend(s->fast, fraction(s->touched, s->n), FAST_SHIFT);
	return MAX(running, MAX(s->slow, s->fast));
}

static uint64_t draw(struct sampler *s, uint64_t n)
{
	if (!s->rng)
		s->rng = 0x9e3779b97f4a7c15ULL ^ (uint64_t)(uintptr_t)s;
	s->rng ^= s->rng << 13;
	s->rng ^= s->rng >> 7;
	s->rng ^= s->rng << 17;
	return (s->rng * 0x2545f4914f6cdd1dULL >> 16) % n;
}

static void begin(struct sampler *s, struct mm *mm, unsigned pages)
{
	pages = MIN(pages, (unsigned)SAMPLE_MAX);
	for (unsigned i = 0; i < pages * DRAWS && s->n < pages; i++) {
		uint64_t gfn = draw(s, mm->max_pages);

		if (name_sample(mm, GFN(gfn)))
			s->gfn[s->n++] = (uint32_t)gfn;
	}
	if (s->n)
		tlb_shootdown_mm(mm);
}

/* A name that has no frame any more, because it was swapped or given up, says
 * nothing. */
static bool still_there(struct mm *mm, uint32_t gfn, bool *sampled)
{
	struct name_view v;

	name_look(mm, GFN(gfn), &v);
	*sampled = v.sampled;
	return v.state == NAME_PRIVATE || v.state == NAME_SHARED || v.state == NAME_BREAKING;
}

static void end(struct sampler *s, struct mm *mm)
{
	uint32_t n = 0, touched = 0;

	for (uint32_t i = 0; i < s->n; i++) {
		bool sampled, there = still_there(mm, s->gfn[i], &sampled);
		bool used = name_sample_end(mm, GFN(s->gfn[i]));

		n += there;
		touched += there && used;
	}
	sampler_period_end(s, touched, n);
}

static bool look(struct sampler *s, struct mm *mm)
{
	uint32_t touched = 0;

	for (uint32_t i = 0; i < s->n; i++) {
		bool sampled;

		touched += still_there(mm, s->gfn[i], &sampled) && !sampled;
	}
	if (touched == s->touched)
		return false;
	s->touched = touched;
	return true;
}

bool sample_step(struct sampler *s, struct mm *mm, uint64_t now_ns, uint64_t run_ns,
		 uint64_t period_ns, unsigned pages)
{
	bool changed = false, started = s->began_ns != 0;
	uint64_t at = MAX(run_ns - s->began_run, (now_ns - s->began_ns) / REAL_MAX);

	if (started && at < period_ns) {
		if (at < period_ns / SAMPLE_LOOKS * (s->looks + 1))
			return false;
		s->looks++;
		return look(s, mm);
	}
	if (started) {
		end(s, mm);
		changed = true;
	}
	s->began_ns = MAX(now_ns, 1UL);
	s->began_run = run_ns;
	begin(s, mm, pages);
	return changed;
}
