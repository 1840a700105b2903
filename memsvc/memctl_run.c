/* SPDX-License-Identifier: MIT */
/* The memory controller at work: a timer on pCPU 0; see memctl.h. */
#include "core/domain.h"
#include "core/lib.h"
#include "memsvc/memctl_impl.h"
#include "memsvc/p2m.h"
#include "percpu/log.h"

#define TICK_NS (20 * NS_PER_MS)
#define TICK_SHORT_NS (5 * NS_PER_MS) /* while memory is not far from short */
#define LOOK_MIN_NS (2 * NS_PER_MS)   /* between two divisions, however often they are asked for */
#define IDLE_NS NS_PER_SEC	      /* between two while memory is plenty */
#define STARVED_NS (100 * NS_PER_MS)
#define STUCK_NS NS_PER_SEC
#define ROOM_NS (2 * NS_PER_SEC) /* a builder waits that long before the guests wait for it */
#define SAMPLE_SLICE 64		 /* domains in one tick */
/* A domain's use for more memory than it has: an eighth, and this much, between two divisions. */
#define GROWTH 256
#define BALLOON_MIN_STEP 16

/* A domain at one division. */
struct entry {
	struct domain *d;
	uint64_t data, gone, swapped, sharing;
};

static struct entry entries[MAX_DOMAINS];
static struct policy_dom shares[MAX_DOMAINS];

/* pCPU 0's, but for the message. */
static struct {
	struct timer timer;
	struct inbox_msg msg;
	_Atomic bool msg_busy;
	_Atomic bool starved; /* an allocation has failed since the last tick */
	bool look;
	uint64_t starved_until, divided_ns, told_ns, room_since;
	unsigned sample_at;
	/* Progress while memory is low. */
	uint64_t moved, progress_ns, pressed_since;
} run;

static uint64_t get(const _Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* What builders wait for. */
static uint64_t room(uint64_t now)
{
	return now < get(&memctl.room_until_ns) ? get(&memctl.room_wanted) : 0;
}

/* Free, and not spoken for by a builder. */
static uint64_t free_to_give(uint64_t now)
{
	return minus(frames_free_count(), get(&memctl.reserved) + room(now));
}

/* ---- working sets ---- */

static void sample(uint64_t now)
{
	for (unsigned i = 0; i < SAMPLE_SLICE; i++) {
		struct domain *d = domain_by_id((domid_t)(run.sample_at + 1));
		uint64_t ran = 0;

		run.sample_at = (run.sample_at + 1) % MAX_DOMAINS;
		if (!d || !d->memctl.max || atomic_load(&d->state) != DOM_RUNNING)
			continue;
		for (unsigned v = 0; v < d->max_vcpus; v++)
			ran += get(&d->vcpu[v]->unit.cpu_ns);
		if (sample_step(&d->memctl.sampler, &d->mm, now, ran, get(&memctl.sample_ns),
				(unsigned)get(&memctl.sample_pages)))
			atomic_store(&d->memctl.active, sampler_estimate(&d->memctl.sampler));
	}
}

/* ---- the division ---- */

/* What the domain could use: what it has, had, and may soon touch. */
static struct policy_dom claim(const struct entry *e)
{
	const struct memctl_dom *m = &e->d->memctl;
	uint64_t manual = get(&m->balloon_manual), most = m->max;
	struct policy_dom p = {
		.shares = atomic_load_explicit(&m->shares, memory_order_relaxed),
		.active = e->data * get(&m->active) / POLICY_ONE,
		.cap = e->data + e->gone + e->swapped + e->data / 8 + GROWTH,
	};

	if (manual != MEMCTL_BALLOON_AUTO)
		most -= manual;
	p.cap = MIN(p.cap, most);
	p.min = MIN(get(&m->min), p.cap);
	return p;
}

static unsigned collect(uint64_t *data, uint64_t *retired)
{
	unsigned n = 0;

	*data = *retired = 0;
	for (unsigned id = 1; id <= MAX_DOMAINS; id++) {
		struct domain *d = domain_by_id((domid_t)id);
		struct entry *e = &entries[n];

		if (!d)
			continue;
		*retired += memctl_count(&d->mm, MMK_RETIRED);
		if (!d->memctl.max || atomic_load(&d->state) != DOM_RUNNING)
			continue;
		e->d = d;
		e->data = memctl_count(&d->mm, MMK_DATA);
		e->gone = memctl_count(&d->mm, MMN_GONE);
		e->swapped = memctl_count(&d->mm, MMN_SWAPPED);
		e->sharing = memctl_count(&d->mm, MMN_SHARING);
		shares[n++] = claim(e);
		*data += e->data;
	}
	return n;
}

/* ---- balloons ---- */

/*
 * What a guest must give up so that it cannot have more than @target frames of its own. It gives up
 * free pages first, and those may never have been touched: so this counts names, not frames.
 */
static uint64_t balloon_limit(const struct entry *e, const struct policy_dom *p)
{
	const struct memctl_dom *m = &e->d->memctl;

	if (p->target == p->cap)
		return 0; /* it has no use for more than that anyway */
	return minus(m->max, MAX(p->target, get(&m->min)) + e->sharing);
}

/* How far the guest's balloon is beyond what its target asks for. */
static uint64_t balloon_slack(const struct entry *e, const struct policy_dom *p)
{
	if (get(&e->d->memctl.balloon_manual) != MEMCTL_BALLOON_AUTO || e->data >= p->target)
		return 0;
	return minus(get(&e->d->memctl.balloon_target), balloon_limit(e, p));
}

/* @take: raise it when the guest has too much. @give, @slack: of all that is to be given back in sum,
 * what there is room for. */
static uint64_t balloon_next(const struct entry *e, const struct policy_dom *p, bool take,
			     uint64_t give, uint64_t slack)
{
	struct memctl_dom *m = &e->d->memctl;
	uint64_t old = get(&m->balloon_target), manual = get(&m->balloon_manual), want = old, mine;

	if (manual != MEMCTL_BALLOON_AUTO)
		return manual;
	mine = balloon_slack(e, p);
	if (take && e->data > p->target)
		want = balloon_limit(e, p);
	else if (mine)
		want = old - (give < slack ? mine * give / slack : mine);
	if (want && (want > old ? want - old : old - want) < BALLOON_MIN_STEP)
		want = old;
	return want;
}

static void balloon_tell(const struct entry *e, uint64_t want, uint64_t now)
{
	struct memctl_dom *m = &e->d->memctl;

	if (e->gone >= want)
		m->balloon_since_ns = 0;
	else if (!m->balloon_since_ns || e->gone > m->balloon_gone)
		m->balloon_since_ns = now; /* told now, or on its way */
	m->balloon_gone = e->gone;
	if (get(&m->balloon_target) == want)
		return;
	atomic_store(&m->balloon_target, want);
	send_guest_global_virq(e->d, VIRQ_ARCH_0);
}

/*
 * Balloons go up when memory is short; and else if that is needed to let another one down, whose
 * guest is entitled to more: so a change of the tax, or of who is idle, moves memory in any state.
 * They go down only as far as there are free frames now: who gets grows faster than who gives.
 */
static void balloons(unsigned n, enum mem_state state, uint64_t free, uint64_t now)
{
	uint64_t total = frames_total(), slack = 0;
	uint64_t give = minus(free, policy_mark(MEM_SOFT, total) + total / 200);

	for (unsigned i = 0; i < n; i++)
		slack += balloon_slack(&entries[i], &shares[i]);
	for (unsigned i = 0; i < n; i++)
		balloon_tell(&entries[i],
			     balloon_next(&entries[i], &shares[i], state >= MEM_SOFT || slack, give,
					  slack),
			     now);
}

/* ---- swap ---- */

/* There is none, it has stopped on its way for longer than the state allows, or it is at its end. */
static bool balloon_late(const struct entry *e, enum mem_state state, uint64_t now)
{
	const struct memctl_dom *m = &e->d->memctl;
	uint64_t wait = get(state == MEM_SOFT ? &memctl.balloon_wait_ns : &memctl.period_ns);

	if (!memctl_balloon_bound(e->d))
		return true;
	if (m->balloon_since_ns)
		return now - m->balloon_since_ns > wait;
	return e->gone >= minus(m->max, get(&m->min)); /* it cannot give more */
}

/*
 * All that a domain without a working balloon has too much. In state low also of those whose balloons
 * are on their way: as much as brings free memory back, in proportion to what they have too much.
 */
static void swap(unsigned n, enum mem_state state, uint64_t free, uint64_t now)
{
	uint64_t total = frames_total(), excess = 0, want;

	for (unsigned i = 0; i < n; i++)
		excess += minus(entries[i].data, shares[i].target);
	want = minus(policy_mark(state == MEM_LOW ? MEM_HIGH : MEM_SOFT, total), free);
	if (now < run.starved_until)
		want = MAX(want, total / 100);
	for (unsigned i = 0; i < n; i++) {
		uint64_t x = minus(entries[i].data, shares[i].target);

		if (x && !balloon_late(&entries[i], state, now))
			x = state == MEM_LOW ? MIN(x, DIV_ROUND_UP(x * want, MAX(excess, x))) : 0;
		if (state == MEM_HIGH || !get(&memctl.swap))
			x = 0;
		memctl_swap_want(entries[i].d, x);
	}
	memctl_swap_go();
}

/* ---- states ---- */

static void enter(enum mem_state s, uint64_t free, uint64_t now)
{
	enum mem_state old = atomic_load(&memctl.state);

	if (s == old)
		return;
	atomic_store(&memctl.state, s);
	atomic_store(&memory_short, s != MEM_HIGH);
	atomic_fetch_add(&memctl.entered[s], 1);
	if (s < MEM_HARD || now < run.told_ns)
		return;
	run.told_ns = now + 10 * NS_PER_SEC;
	printk("memory: state %s, %lu of %lu MiB free", mem_state_name(s),
	       (unsigned long)(free >> 8), (unsigned long)(frames_total() >> 8));
}

/* Short for a while, and nothing is given up or swapped any more: say so. */
static void watch(unsigned n, enum mem_state state, uint64_t now)
{
	uint64_t moved = get(&memctl.swapped_out), held = 0;

	for (unsigned i = 0; i < n; i++) {
		moved += entries[i].gone;
		held += entries[i].gone + entries[i].swapped;
	}
	if (moved != run.moved)
		run.progress_ns = now;
	run.moved = moved;
	if (state != MEM_LOW && now >= run.starved_until)
		run.pressed_since = now;
	if (now - MAX(run.progress_ns, run.pressed_since) < STUCK_NS) {
		atomic_store(&memctl.stuck, false);
		return;
	}
	if (atomic_load(&memctl.stuck))
		return;
	atomic_store(&memctl.stuck, true);
	atomic_fetch_add(&memctl.exhausted, 1);
	printk("memory is used up: %lu KiB free, %lu MiB ballooned or swapped, and no more comes: "
	       "guests that need more will be ended",
	       (unsigned long)(frames_free_count() << 2), (unsigned long)(held >> 8));
}

static void divide(enum mem_state state, uint64_t now)
{
	uint64_t data, retired, free = free_to_give(now),
				kept = policy_mark(MEM_HIGH, frames_total());
	unsigned n = collect(&data, &retired);
	unsigned over = 0;

	/* 6% are to be free once that is lacking; but nobody gives up pages just for that. */
	if (state == MEM_HIGH)
		kept = MIN(kept, free);
	policy_targets(shares, n, minus(data + free + retired, kept), (unsigned)get(&memctl.tax));
	for (unsigned i = 0; i < n; i++) {
		struct memctl_dom *m = &entries[i].d->memctl;
		bool above = entries[i].data > shares[i].target;

		/* Who has no use for more may have it. */
		atomic_store_explicit(&m->target,
				      shares[i].target < shares[i].cap ? shares[i].target : m->max,
				      memory_order_relaxed);
		atomic_store_explicit(&entries[i].d->mm.over, above, memory_order_relaxed);
		over += above;
	}
	balloons(n, state, free, now);
	atomic_store(&memctl.squeezed, room(now) && !over);
	if (!room(now))
		run.room_since = now;
	/* Guests wait for a builder only while that helps. */
	atomic_store(&memory_tight,
		     over && (state == MEM_LOW || (now - run.room_since > ROOM_NS &&
						   now - run.progress_ns < STUCK_NS)));
	swap(n, state, free + retired, now);
	watch(n, state, now);
}

static uint64_t pause(enum mem_state s)
{
	switch (s) {
	case MEM_HIGH:
		return IDLE_NS;
	case MEM_SOFT:
		return get(&memctl.period_ns);
	case MEM_HARD:
		return get(&memctl.period_ns) / 4;
	default:
		return TICK_NS;
	}
}

static uint64_t tick_after(uint64_t free)
{
	if (run.look)
		return LOOK_MIN_NS;
	return free < 2 * policy_mark(MEM_HIGH, frames_total()) ? TICK_SHORT_NS : TICK_NS;
}

static void tick(struct timer *t, uint64_t now)
{
	uint64_t free = frames_free_count();
	enum mem_state s = policy_state(atomic_load(&memctl.state), free, frames_total());

	if (atomic_exchange(&run.starved, false)) {
		run.starved_until = now + STARVED_NS;
		run.look = true;
	}
	if (now < run.starved_until)
		s = MAX(s, MEM_HARD);
	if (room(now))
		s = MAX(s, MEM_SOFT);
	/* At once in either direction: guests wait as long as the last division says so. */
	if (s != atomic_load(&memctl.state))
		run.look = true;
	enter(s, free, now);
	if (now - run.divided_ns >= (run.look ? LOOK_MIN_NS : pause(s))) {
		run.look = false;
		run.divided_ns = now;
		divide(s, now);
	}
	sample(now);
	timer_arm(t, arch_now_ns() + tick_after(free));
}

static void message(struct inbox_msg *msg)
{
	(void)msg;
	/* Whoever comes from here on sends anew. PAIRS: memctl_msg */
	atomic_store(&run.msg_busy, false);
	run.look = true;
	timer_arm(&run.timer, arch_now_ns());
}

void memctl_look(void)
{
	if (memctl.started && !atomic_load_explicit(&run.msg_busy, memory_order_relaxed) &&
	    !atomic_exchange(&run.msg_busy, true)) /* PAIRS: memctl_msg */
		inbox_post(0, &run.msg);
}

void memctl_kick(void)
{
	if (!atomic_load_explicit(&run.starved, memory_order_relaxed))
		atomic_store_explicit(&run.starved, true, memory_order_relaxed);
	memctl_look();
}

void memctl_start(void)
{
	memctl.own = frames_total() - frames_free_count();
	page_reserve_init();
	memctl.own += (uint64_t)atomic_load(&page_reserve_size) * nr_pcpus();
	memctl_swap_init();
	timer_init(&run.timer, tick);
	run.msg.fn = message;
	memctl.started = true;
	timer_arm(&run.timer, arch_now_ns() + TICK_NS);
}
