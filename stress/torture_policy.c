/* SPDX-License-Identifier: MIT */
/*
 * Domains under the memory controller, and the pCPU that gives it something to do: it changes the
 * settings at random, and takes memory as a builder does, until there is so little that targets are
 * set, and gives it back.
 */
#include <unistd.h>

#include "memsvc/memctl_impl.h"
#include "torture.h"

#define MIN_MAX 64 /* pages that a domain may be promised */

static mfn_t taken[1u << 20];
static uint64_t nr_taken;

bool policy_domain(struct domain *d, struct rnd *r, bool balloon)
{
	uint64_t min = rnd_to(r, MIN_MAX), charge;
	char why[96];

	if (memctl_admit(T_NAMES, min, d->max_vcpus, &charge, why, sizeof(why)))
		return false;
	memctl_domain_init(d, T_NAMES, min, 1 + (uint32_t)rnd_to(r, 100), charge);
	atomic_store(&d->vcpu[0]->evt.virq[VIRQ_ARCH_0], balloon);
	/* Where the controller swaps for it. */
	d->home_cpu = d->id % nr_pcpus();
	atomic_store(&d->state, DOM_RUNNING);
	return true;
}

static void set(const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%lu", (unsigned long)value);
	if (memctl_set(key, text))
		torture_fail("%s can't be set to %s", key, text);
}

static void change(struct rnd *r)
{
	struct domain *d = torture_domain((domid_t)(1 + rnd_to(r, tc.domains)));

	if (!rnd_to(r, 4) && torture_domain(mayfly_id()))
		d = torture_domain(mayfly_id());
	if (!d)
		return;
	switch (rnd_to(r, 6)) {
	case 0:
		memctl_set_tax(rnd_to(r, 101));
		break;
	case 1:
		memctl_set_shares(d, 1 + rnd_to(r, 1000));
		break;
	case 2: /* refused when so much cannot be promised */
		memctl_set_min(d, rnd_to(r, MIN_MAX));
		break;
	case 3:
		memctl_set_balloon(d, rnd_to(r, 6) ? MEMCTL_BALLOON_AUTO : rnd_to(r, MIN_MAX));
		break;
	case 4:
		set("mem.period_ms", 1 + rnd_to(r, 4));
		set("mem.balloon_wait_ms", rnd_to(r, 20));
		break;
	default:
		/* In a slow round pCPU 0 would do nothing else. */
		set("mem.sample_ms", (tc.slow ? 200 : 10) + rnd_to(r, 20));
		set("mem.sample_pages", 1 + rnd_to(r, tc.slow ? 8 : SAMPLE_MAX));
		break;
	}
}

/* Until @left are free. */
static void take(uint64_t left)
{
	while (nr_taken < ARRAY_SIZE(taken) && frames_free_count() > left) {
		mfn_t m = page_alloc(0);

		if (!mfn_valid_value(m))
			break;
		taken[nr_taken++] = m;
	}
}

static void pass(struct tcpu *t, unsigned steps)
{
	while (steps-- && torture_working()) {
		atomic_fetch_add(&t->op, 1);
		between();
		usleep(200);
	}
}

/* A builder comes, is told to wait or not, and has its memory for a while. */
static void build(struct tcpu *t)
{
	uint64_t free = frames_free_count(), left = rnd_to(&t->r, 1 + frames_total() * 6 / 100);
	uint64_t pages = free > left ? free - left : 0;
	/* Not always: while one waits, guests wait for it. */
	bool may = !rnd_to(&t->r, 16) && memctl_reserve(pages);

	if (may)
		pass(t, (unsigned)rnd_to(&t->r, 20));
	take(left);
	if (may)
		memctl_unreserve(pages);
	pass(t, 20 + (unsigned)rnd_to(&t->r, 60));
	while (nr_taken)
		page_free(taken[--nr_taken]);
	memctl_look();
}

void policy_start(struct tcpu *t)
{
	if (t->id || tc.calm)
		return;
	set("mem.period_ms", 1);
	set("mem.sample_ms", 200);
	set("mem.sample_pages", 8);
	set("mem.balloon_wait_ms", 5);
	memctl_start();
}

void policy_run(struct tcpu *t)
{
	atomic_store(&t->doing, "policy");
	while (torture_working()) {
		uint64_t op = atomic_fetch_add(&t->op, 1);

		t->r.s = mix(tc.seed ^ mix(t->id << 20 | 7) ^ op) | 1;
		if (!tc.calm) {
			for (unsigned i = 0; i < 4; i++)
				change(&t->r);
			if (!rnd_to(&t->r, 6))
				build(t);
		}
		pass(t, 1 + (unsigned)rnd_to(&t->r, 10));
	}
}
