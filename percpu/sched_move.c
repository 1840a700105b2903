/* SPDX-License-Identifier: MIT */
/*
 * Where units run: placement, stealing by idle pCPUs, and balancing between busy ones. All by
 * messages; the only shared data are the pCPUs' load words. The weight of units on their way is
 * added to the target's `inbound` by the sender (one RMW per move), so that many decisions made
 * before the first arrival don't all pick the same target.
 *
 * Balancing. Within a pCPU BVT is fair; across pCPUs shares are fair when runnable weights are
 * equal. Each pCPU with two or more runnable units looks at the others every SCHED_BALANCE_NS:
 *  - improvement: it sends a unit to the lightest pCPU if that lessens the difference of the two;
 *  - rotation: if none does and it is heavier than the average, it now and then trades with the
 *    lighter pCPU whose turn it is, though the difference only changes sides: it gives away the
 *    unit that has missed least, since that comes to the heavy side again, and may get one back.
 *    So units take turns in the bad places when no perfect packing exists, and when one exists
 *    it is found by this walk.
 * A unit's `lag` is the service (per weight) that it missed against a machine of equal loads.
 */
#include "percpu/sched_impl.h"

#define SETTLE_NS (5 * NS_PER_MS) /* a unit that has just come is not sent on */
#define LAG_SCALE 20		  /* fixed point of lag */
#define GAIN_SHIFT 5		  /* an improvement must be worth 1/32 of the load */
#define IDLE_PROBES 8		  /* pCPUs that a wake on a busy one looks at */
#define STEAL_PROBES 32		  /* pCPUs that one which becomes idle looks at */

static uint32_t random32(struct sched *s)
{
	s->rng ^= s->rng << 13;
	s->rng ^= s->rng >> 17;
	s->rng ^= s->rng << 5;
	return s->rng;
}

/* Runnable weight of a pCPU, what is on its way to it included; UINT64_MAX: takes no units. */
static uint64_t load_of(unsigned cpu)
{
	struct pcpu *p = pcpu_get(cpu);

	if (!p || !atomic_load_explicit(&p->load.online, memory_order_relaxed))
		return UINT64_MAX;
	return (uint64_t)atomic_load_explicit(&p->load.weight, memory_order_relaxed) +
	       atomic_load_explicit(&p->load.inbound, memory_order_relaxed);
}

/* The least loaded pCPU of @mask but @except; ties go round. Its load in *@load. */
static unsigned lightest(const cpumask_t *mask, unsigned except, uint64_t *load)
{
	struct sched *s = &this_pcpu()->sched;
	unsigned n = nr_pcpus();
	unsigned start = s->rotor++ % n;
	unsigned best = CPUMASK_BITS;

	*load = UINT64_MAX;
	for (unsigned i = 0; i < n; i++) {
		unsigned cpu = (start + i) % n;
		uint64_t l;

		if (cpu == except || !cpumask_test(mask, cpu))
			continue;
		l = load_of(cpu);
		if (l < *load) {
			*load = l;
			best = cpu;
		}
	}
	return best;
}

/* If no pCPU of its mask is online the unit stays where it is: wrong place, but it runs. */
unsigned sched_place(const struct sched_unit *u)
{
	uint64_t load;
	unsigned cpu = lightest(&u->pin, CPUMASK_BITS, &load);

	return cpu == CPUMASK_BITS ? this_pcpu()->id : cpu;
}

/* An idle pCPU for a unit that wakes while its home is busy, else its home; looks at a few only. */
unsigned sched_find_idle(const struct sched_unit *u)
{
	struct pcpu *p = this_pcpu();
	unsigned n = nr_pcpus();
	unsigned cpu = n > IDLE_PROBES ? random32(&p->sched) % n : 0;

	for (unsigned i = 0; i < MIN(n, (unsigned)IDLE_PROBES); i++, cpu = (cpu + 1) % n)
		if (cpu != p->id && unit_allowed(u, cpu) && load_of(cpu) == 0)
			return cpu;
	return p->id;
}

/* ---- moving ---- */

/*
 * Charge all units here with the service per weight that they missed since the last call: what a
 * machine of equal loads would have given them against what this pCPU did.
 */
static void update_lags(struct pcpu *p, uint64_t now)
{
	struct sched *s = &p->sched;
	struct sched_unit *lists[2] = {s->queue, s->warpq};
	uint64_t dt = now - s->last_lag_ns;
	int64_t missed;

	s->last_lag_ns = now;
	if (!s->weight || !s->machine_weight || dt > NS_PER_SEC)
		return;
	missed = (int64_t)((dt << LAG_SCALE) / s->machine_weight * s->machine_cpus) -
		 (int64_t)((dt << LAG_SCALE) / s->weight);
	for (unsigned i = 0; i < 2; i++)
		for (struct sched_unit *u = lists[i]; u; u = u->next)
			u->lag += missed;
	if (s->cur)
		s->cur->lag += missed;
}

/* @u is runnable, neither queued nor counted here, and not loaded on this pCPU. */
void sched_send(struct pcpu *p, struct sched_unit *u, unsigned target)
{
	if (!u->fresh && sched_hooks && sched_hooks->on_migrate_out)
		sched_hooks->on_migrate_out(u);
	u->rel_avt = u->avt > p->sched.svt ? u->avt - p->sched.svt : 0;
	atomic_fetch_add_explicit(&pcpu_get(target)->load.inbound, u->weight, memory_order_relaxed);
	unit_set_state(u, US_MOVING, UF_UNPARK);
	/* From here on messages go to @target, where the unit counts as moving. PAIRS: sched_home */
	atomic_store_explicit(&u->home, target, memory_order_release);
	inbox_post(target, &u->move_msg);
}

static void send_queued(struct pcpu *p, struct sched_unit *u, unsigned target)
{
	update_lags(p, arch_now_ns());
	sched_dequeue(p, u);
	sched_deactivate(p, u);
	sched_send(p, u, target);
}

static void trade_back(struct pcpu *p, const struct sched_unit *got, unsigned with);

void sched_move_msg(struct inbox_msg *m)
{
	struct sched_unit *u = UNIT_OF(m, move_msg);
	struct pcpu *p = this_pcpu();
	uint64_t now = arch_now_ns();
	uint32_t weight = u->weight;
	uint32_t rotated_by = u->rotated_by;

	u->rotated_by = 0;
	u->moved_ns = now;
	sched_charge(p, now);
	sched_update_svt(p);
	update_lags(p, now);
	u->avt = p->sched.svt + u->rel_avt;
	if (!u->fresh) {
		u->nr_migrations++;
		if (sched_hooks && sched_hooks->on_migrate_in)
			sched_hooks->on_migrate_in(u);
	}
	u->fresh = false;
	if (u->stopping) {
		sched_finish_stop(p, u, now);
	} else {
		unit_set_state(u, US_QUEUED, 0);
		sched_activate(p, u, now);
	}
	atomic_fetch_sub_explicit(&p->load.inbound, weight, memory_order_relaxed);
	if (rotated_by) {
		atomic_store_explicit(&p->load.rotated_ns, now, memory_order_relaxed);
		trade_back(p, u, rotated_by - 1);
	}
}

void sched_evict_msg(struct inbox_msg *m)
{
	struct pcpu *p = this_pcpu();
	struct sched_unit *lists[2] = {p->sched.queue, p->sched.warpq};

	(void)m;
	p->sched.evict_posted = false;
	for (unsigned i = 0; i < 2; i++) {
		struct sched_unit *next;

		for (struct sched_unit *u = lists[i]; u; u = next) {
			unsigned target;

			next = u->next;
			if (unit_allowed(u, p->id))
				continue;
			target = sched_place(u);
			if (target != p->id)
				send_queued(p, u, target);
		}
	}
}

void sched_post_evict(struct pcpu *p)
{
	if (p->sched.evict_posted)
		return;
	p->sched.evict_posted = true;
	inbox_post(p->id, &p->sched.evict);
}

/* ---- choosing what to send ---- */

/*
 * The queued unit that brings two loads which differ by @diff nearest to each other, may run on
 * @cpu, has been here since @settled, and is not @except. NULL unless the gain is worth it, which
 * it always is when @cpu is idle.
 */
static struct sched_unit *best_to_send(struct pcpu *p, unsigned cpu, uint64_t diff,
				       uint64_t settled, const struct sched_unit *except)
{
	uint64_t worth = load_of(cpu) ? p->sched.weight >> GAIN_SHIFT : 0;
	struct sched_unit *lists[2] = {p->sched.queue, p->sched.warpq};
	struct sched_unit *best = NULL;
	uint64_t best_rest = diff - MIN(diff, worth);

	for (unsigned i = 0; i < 2; i++) {
		for (struct sched_unit *u = lists[i]; u; u = u->next) {
			uint64_t w2 = 2ULL * u->weight;
			uint64_t rest = w2 > diff ? w2 - diff : diff - w2;

			if (u == except || !unit_allowed(u, cpu) || u->moved_ns > settled ||
			    u->stopping)
				continue;
			if (rest < best_rest || (best && rest == best_rest && u->lag > best->lag)) {
				best = u;
				best_rest = rest;
			}
		}
	}
	return best;
}

/* ---- idle pCPUs ask ---- */

void sched_request_work(struct pcpu *p)
{
	struct sched *s = &p->sched;
	unsigned n = nr_pcpus();
	unsigned start = random32(s) % n;
	unsigned victim = p->id;
	uint64_t most = 0;

	if (s->steal.busy)
		return;
	for (unsigned i = 0; i < MIN(n, (unsigned)STEAL_PROBES); i++) {
		unsigned cpu = (start + i) % n;
		struct pcpu *v = pcpu_get(cpu);
		uint64_t load;

		if (!v || v == p || !atomic_load_explicit(&v->load.spare, memory_order_relaxed))
			continue;
		load = atomic_load_explicit(&v->load.weight, memory_order_relaxed);
		if (load > most) {
			most = load;
			victim = cpu;
		}
	}
	if (victim == p->id)
		return;
	s->steal.busy = true;
	inbox_post(victim, &s->steal.msg);
}

/* On the victim: send a unit; then, back on the thief (after the unit): ready for another try. */
void sched_steal_msg(struct inbox_msg *m)
{
	struct sched_steal *st = container_of(m, struct sched_steal, msg);
	struct pcpu *p = this_pcpu();
	struct sched_unit *u;

	if (st->thief == p->id) {
		st->busy = false;
		return;
	}
	if (load_of(st->thief) == 0) {
		u = best_to_send(p, st->thief, p->sched.weight, UINT64_MAX, NULL);
		if (u) {
			p->sched.nr_stolen++;
			send_queued(p, u, st->thief);
		}
	}
	inbox_post(st->thief, m);
}

/* ---- busy pCPUs balance ---- */

void sched_balance_arm(struct pcpu *p, uint64_t now)
{
	struct sched *s = &p->sched;

	if (s->nr < 2 || timer_armed(&s->balance) || nr_pcpus() < 2)
		return;
	update_lags(p, now);
	/* Spread over the pCPUs and in time. */
	timer_arm(&s->balance,
		  now + SCHED_BALANCE_NS * 3 / 4 + random32(s) % (uint32_t)(SCHED_BALANCE_NS / 2));
}

/* Of the queued units that may go to @cpu and weigh no more than @max_weight. */
static struct sched_unit *least_lagging(struct pcpu *p, unsigned cpu, uint64_t max_weight,
					uint64_t settled)
{
	struct sched_unit *lists[2] = {p->sched.queue, p->sched.warpq};
	struct sched_unit *best = NULL;

	for (unsigned i = 0; i < 2; i++)
		for (struct sched_unit *u = lists[i]; u; u = u->next)
			if (unit_allowed(u, cpu) && u->weight <= max_weight &&
			    u->moved_ns <= settled && !u->stopping && (!best || u->lag < best->lag))
				best = u;
	return best;
}

/* The second half of a rotation: send one back if that lessens the difference. */
static void trade_back(struct pcpu *p, const struct sched_unit *got, unsigned with)
{
	uint64_t other = load_of(with);
	struct sched_unit *u;

	if (other == UINT64_MAX || p->sched.weight <= other)
		return;
	u = best_to_send(p, with, p->sched.weight - other, UINT64_MAX, got);
	if (u) {
		p->sched.nr_pushed++;
		send_queued(p, u, with);
	}
}

/* The lighter pCPU whose turn to be heavy was longest ago, of those a unit of ours may run on. */
static struct sched_unit *rotation(struct pcpu *p, uint64_t settled, unsigned *target)
{
	struct sched *s = &p->sched;
	struct sched_unit *best = NULL;
	uint64_t oldest = UINT64_MAX;
	unsigned n = nr_pcpus();
	unsigned cpu = random32(s) % n;

	for (unsigned i = 0; i < n; i++, cpu = (cpu + 1) % n) {
		uint64_t other = load_of(cpu);
		struct sched_unit *u;
		uint64_t turn;

		if (cpu == p->id || other >= s->weight)
			continue;
		turn = atomic_load_explicit(&pcpu_get(cpu)->load.rotated_ns, memory_order_relaxed);
		if (turn >= oldest)
			continue;
		u = least_lagging(p, cpu, s->weight - other, settled);
		if (!u)
			u = least_lagging(p, cpu, UINT32_MAX, settled);
		if (!u)
			continue;
		best = u;
		oldest = turn;
		*target = cpu;
	}
	return best;
}

static void rotate(struct pcpu *p, uint64_t now)
{
	unsigned target;
	struct sched_unit *u = rotation(p, now - SETTLE_NS, &target);

	if (!u)
		return;
	p->sched.nr_rotated++;
	u->rotated_by = p->id + 1;
	send_queued(p, u, target);
}

void sched_balance_tick(struct timer *t, uint64_t now)
{
	struct pcpu *p = this_pcpu();
	struct sched *s = &p->sched;
	uint64_t total = 0, least, mine = s->weight;
	unsigned online = 0, cpu;
	struct sched_unit *u = NULL;

	(void)t;
	if (s->nr < 2)
		return;
	for (unsigned i = 0; i < nr_pcpus(); i++) {
		uint64_t l = load_of(i);

		if (l != UINT64_MAX) {
			total += l;
			online++;
		}
	}
	s->machine_weight = MAX(total, mine);
	s->machine_cpus = MAX(online, 1u);
	update_lags(p, now);
	sched_balance_arm(p, now);

	cpu = lightest(&CPUMASK_ALL, p->id, &least);
	if (cpu != CPUMASK_BITS && least < mine)
		u = best_to_send(p, cpu, mine - least, now - SETTLE_NS, NULL);
	if (u) {
		s->nr_pushed++;
		send_queued(p, u, cpu);
		return;
	}
	if (mine * online > total + (total >> GAIN_SHIFT) &&
	    now - s->last_rotate_ns >= SCHED_ROTATE_NS) {
		s->last_rotate_ns = now;
		rotate(p, now);
	}
}
