/* SPDX-License-Identifier: MIT */
/* The scanner of each pCPU: its batch, slice by slice; see scan.h. */
#include "memsvc/scan.h"

#include "core/arch.h"
#include "core/domain.h"
#include "core/lib.h"
#include "core/xen_errno.h"
#include "memsvc/scan_impl.h"
#include "memsvc/share_table.h"
#include "percpu/pcpu.h"

/* A batch whose pCPU had no idle time for so long is given up: the words in it are unique only for
 * the time of an operation. */
#define BATCH_AGE_NS NS_PER_SEC

#define COUNTER(c) struct counter scan_##c = {.name = "scan." #c}
COUNTER(looked);
COUNTER(skipped);
COUNTER(settled);
COUNTER(backed_off);
COUNTER(guarded);
COUNTER(scanned);
COUNTER(merged);
COUNTER(zero);
COUNTER(hints);
COUNTER(changed);
COUNTER(lost);
COUNTER(full);
COUNTER(guessed);
COUNTER(busy_ns);

static struct counter *const counters[] = {
	&scan_looked,  &scan_skipped, &scan_settled, &scan_backed_off, &scan_guarded,
	&scan_scanned, &scan_merged,  &scan_zero,    &scan_hints,      &scan_changed,
	&scan_lost,    &scan_full,    &scan_guessed, &scan_busy_ns,
};
_Static_assert(sizeof(struct scan_stats) == ARRAY_SIZE(counters) * sizeof(uint64_t),
	       "a counter for each figure, in the same order");

/* One page per pCPU; published after all is made (release), read by scan_idle() (acquire).
 * PAIRS: scan_init */
static _Atomic(char *) scanners;

/* Only brings the pCPU to its exit path and from there back to scan_idle(). */
static void timer_fired(struct timer *t, uint64_t now)
{
	(void)t;
	(void)now;
}

int scan_init(void)
{
	unsigned n = nr_pcpus();
	mfn_t m = frames_alloc_contig(n);
	char *base;

	if (!mfn_valid_value(m) || share_table_init(frames_total()))
		return -XEN_ENOMEM;
	base = memset(arch_mfn_to_virt(m), 0, n * PAGE_SIZE);
	for (unsigned i = 0; i < n; i++) {
		struct scanner *s = (struct scanner *)(base + i * PAGE_SIZE);

		timer_init(&s->timer, timer_fired);
		s->domid = (domid_t)(i * 97 % MAX_DOMAINS);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(counters); i++)
		counter_register(counters[i]);
	atomic_store_explicit(&scanners, base, memory_order_release); /* PAIRS: scan_init */
	return 0;
}

void scan_stats(struct scan_stats *out)
{
	uint64_t *v = (uint64_t *)out;

	for (unsigned i = 0; i < ARRAY_SIZE(counters); i++)
		v[i] = counter_sum(counters[i]);
}

static void grace_over(struct rcu_head *head)
{
	container_of(head, struct scanner, rcu)->grace = false;
}

static void wait_grace(struct scanner *s, enum scan_phase then)
{
	s->phase = then;
	s->grace = true;
	call_rcu_hurry(&s->rcu, grace_over);
}

/* All entries for the batch's names are write-protected by now. */
static void flush(struct scanner *s)
{
	struct domain *d = scan_domain_get(s);

	s->done = d ? 0 : s->n;
	if (d)
		tlb_shootdown_mm(&d->mm);
	wait_grace(s, SCAN_HASH);
}

/* True: go on at once. Else *@due is when. */
static bool pick(struct scanner *s, uint64_t now, uint64_t *due)
{
	if (!scan_pick(s, now, due))
		return false;
	if (s->n < SCAN_BATCH && s->at != s->end)
		return true;
	scan_pay(&s->domain->scan, now, s->n, s->looks);
	s->looks = 0;
	if (!s->n)
		return true;
	if (s->taken_over)
		wait_grace(s, SCAN_FLUSH);
	else
		flush(s);
	return true;
}

static void hash(struct scanner *s, uint64_t now)
{
	struct domain *d = scan_domain_get(s);
	bool given_up = !d || now - s->begun_ns > BATCH_AGE_NS;

	if (given_up)
		s->done = s->n;
	if (s->done < s->n)
		s->done += scan_hash_some(&d->mm, &s->page[s->done],
					  MIN(s->n - s->done, (unsigned)SCAN_SLICE));
	if (s->done == s->n) {
		if (!given_up)
			scan_flush_merged(&d->mm, s->page, s->n);
		s->n = 0;
		s->phase = SCAN_PICK;
	}
}

/* True: go on at once; else sleep until *@due. */
static bool step(struct scanner *s, uint64_t now, uint64_t *due)
{
	if (s->grace) {
		*due = TIME_NEVER; /* RCU's timer wakes the pCPU */
		return false;
	}
	switch (s->phase) {
	case SCAN_PICK:
		/* What has been begun is finished, though others have used up the rate meanwhile. */
		*due = scan_due(NULL);
		if (*due > now && !s->n && !s->looks)
			return false;
		if (pick(s, now, due))
			return true;
		*due = MIN(*due, now + SCAN_NAP_NS);
		return false;
	case SCAN_FLUSH:
		flush(s);
		break;
	case SCAN_HASH:
		hash(s, now);
		break;
	}
	return true;
}

/* The CPU share: after each turn of work, rest in proportion. */
static void charge(struct scanner *s, uint64_t from, uint64_t to)
{
	unsigned percent = scan_cpu_percent();

	counter_add(&scan_busy_ns, to - from);
	s->cost_ns += to - from;
	if (s->cost_ns < SCAN_TURN_NS)
		return;
	s->rest_until = to + s->cost_ns * (100 - percent) / percent;
	s->cost_ns = 0;
}

bool scan_idle(struct pcpu *p)
{
	char *base = atomic_load_explicit(&scanners, memory_order_acquire); /* PAIRS: scan_init */
	struct scanner *s;
	uint64_t now, due;
	bool more = false;

	if (!base || p->work)
		return false;
	s = (struct scanner *)(base + p->id * PAGE_SIZE);
	now = arch_now_ns();
	due = s->rest_until;
	if (now >= due) {
		more = step(s, now, &due);
		if (more)
			charge(s, now, arch_now_ns());
	}
	if (!more && due != TIME_NEVER)
		timer_arm(&s->timer, due);
	return more;
}
