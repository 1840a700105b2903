/* SPDX-License-Identifier: MIT */
/*
 * Event channels under concurrency, a pCPU per thread. What must hold whatever the interleaving:
 * an event that was sent is seen after it was sent; links name each other or are gone; ports are
 * conserved; polls are woken. Run under ThreadSanitizer as well.
 */
#include "core/evtchn_fifo.h"
#include "test_evtchn.h"

#define SENDERS 3
#define CONSUMERS 2
#define MAX_TEST_PORTS 600
#define SENDS 40000

static struct domain *a, *b;
static pthread_barrier_t ready;
static uint64_t seed0;
static bool fifo;

static unsigned nports;
static bool one_queue; /* all ports on vCPU 0, one priority */
static evtchn_port_t pa[MAX_TEST_PORTS], pb[MAX_TEST_PORTS];
static unsigned index_of[4096];
static _Atomic uint64_t sent[MAX_TEST_PORTS], seen[MAX_TEST_PORTS], upcalls;
static _Atomic unsigned senders_left;
static struct gfifo gf[CONSUMERS];

static void handled(struct vcpu *v, evtchn_port_t port)
{
	unsigned i = index_of[port];
	uint64_t s = atomic_load(&sent[i]), o = atomic_load(&seen[i]);

	(void)v;
	/* Two vCPUs may handle one port in turn, around a rebinding. */
	while (o < s && !atomic_compare_exchange_weak(&seen[i], &o, s))
		;
	atomic_fetch_add(&upcalls, 1);
}

static void make_world(void)
{
	world_memory();
	a = new_domain(1);
	b = new_domain(CONSUMERS);
	if (fifo) {
		for (unsigned i = 0; i < CONSUMERS; i++)
			cr_assert_eq(gf_init(&gf[i], b->vcpu[i]), 0);
		cr_assert_eq(evtchn_fifo_expand_array(b, GFIFO_ARRAY_GFN), 0);
	}
	for (unsigned i = 0; i < nports; i++) {
		/* 2-level: each in a word of its own, so that none is found by another's event. */
		for (unsigned k = 0; k < 63 && !fifo; k++)
			evtchn_alloc_unbound(b, 0, &pb[i]);
		cr_assert_eq(evtchn_alloc_unbound(b, a->id, &pb[i]), 0);
		cr_assert_eq(evtchn_bind_interdomain(a, b, pb[i], &pa[i]), 0);
		index_of[pb[i]] = i;
		evtchn_bind_vcpu(b, pb[i], one_queue ? 0 : i % CONSUMERS);
		if (fifo && !one_queue)
			evtchn_set_priority(b, pb[i], i % 3);
		atomic_store(&sent[i], 0);
		atomic_store(&seen[i], 0);
	}
	atomic_store(&senders_left, SENDERS);
	atomic_store(&upcalls, 0);
}

static void sender(unsigned id)
{
	uint64_t s = seed0 + id;

	for (unsigned n = 0; n < SENDS; n++) {
		unsigned i = rnd(&s) % nports, r = rnd(&s) % 64;

		if (r < 2 && one_queue)
			sched_yield();
		else if (r == 0 && fifo)
			evtchn_bind_vcpu(b, pb[i], rnd(&s) % CONSUMERS);
		else if (r == 1 && fifo)
			evtchn_set_priority(b, pb[i], rnd(&s) % 3);
		else if (r == 2 && !fifo)
			evtchn_unmask(b, pb[i]);
		atomic_fetch_add(&sent[i], 1);
		evtchn_send(a, pa[i]);
		if (r < 4) {
			host_service();
			sched_yield();
		}
	}
	atomic_fetch_sub(&senders_left, 1);
}

/* A vCPU in a loop of upcalls; its exit path is the call of vcpu_event_pending(). */
static void consumer(unsigned id)
{
	struct vcpu *v = b->vcpu[id];
	bool last = false;

	while (!last) {
		last = !atomic_load(&senders_left);
		vcpu_event_pending(v);
		if (fifo)
			gf_upcall(&gf[id], handled);
		else
			g2_upcall(v, handled);
		host_service();
		if (!last)
			sched_yield();
	}
}

static void send_thread(void *arg)
{
	unsigned id = this_pcpu()->id;

	(void)arg;
	if (id == 0)
		make_world();
	pthread_barrier_wait(&ready);
	if (id < CONSUMERS)
		consumer(id);
	else
		sender(id);
	pthread_barrier_wait(&ready);
	/* Everybody has stopped: one more look by each finds what came last. */
	if (id < CONSUMERS)
		consumer(id);
}

static void run(unsigned threads, void (*fn)(void *arg))
{
	seed0 = seed_from_env();
	pthread_barrier_init(&ready, NULL, threads);
	run_shaken(threads, fn);
}

static void no_event_lost(void)
{
	run(SENDERS + CONSUMERS, send_thread);
	fprintf(stderr, "%u sends, %llu events handled\n", SENDERS * SENDS,
		(unsigned long long)upcalls);
	for (unsigned i = 0; i < nports; i++)
		cr_assert_eq(atomic_load(&sent[i]), atomic_load(&seen[i]),
			     "port %u: sent %llu seen %llu", pb[i], (unsigned long long)sent[i],
			     (unsigned long long)seen[i]);
	for (unsigned i = 0; fifo && i < nports; i++)
		cr_assert_eq(gf_load(b, pb[i]) >> EVTCHN_FIFO_LINKED & 5, 0, "port %u is left over",
			     pb[i]);
}

Test(evtchn_race, no_event_lost_2l)
{
	fifo = false;
	nports = 24;
	no_event_lost();
}

Test(evtchn_race, no_event_lost_fifo)
{
	fifo = true;
	nports = 24;
	no_event_lost();
}

/* Everybody to one queue, and many ports: its owners are kept busy and give it up now and then. */
Test(evtchn_race, no_event_lost_one_queue)
{
	fifo = one_queue = true;
	nports = MAX_TEST_PORTS;
	no_event_lost();
	fprintf(stderr, "queue found busy %llu times, handed over %llu times\n",
		(unsigned long long)counter_sum(&evtchn_fifo_busy),
		(unsigned long long)counter_sum(&evtchn_fifo_handoffs));
}

/* ---- links made and cut by everybody at once ---- */

#define STORM_THREADS 4
#define STORM 12000
#define SLOTS 16

static struct domain *dom[2];
/* Ports somebody has allocated: any thread may bind to, send on, or close any of them. */
static _Atomic evtchn_port_t board[2][SLOTS];

static _Atomic unsigned binds;

/* Show a port to everybody; most of those that it displaces are closed. */
static void show(unsigned k, unsigned slot, evtchn_port_t p, uint64_t *s)
{
	p = atomic_exchange(&board[k][slot], p);
	if (rnd(s) % 4)
		evtchn_close(dom[k], p);
}

static void storm(unsigned id)
{
	uint64_t s = seed0 + id * 977;

	for (unsigned n = 0; n < STORM; n++) {
		unsigned k = rnd(&s) % 2, slot = rnd(&s) % SLOTS;
		struct domain *d = dom[k], *o = dom[!k];
		evtchn_port_t p = atomic_load(&board[k][slot]), q;

		switch (rnd(&s) % 8) {
		case 0:
		case 1:
			if (!evtchn_alloc_unbound(d, o->id, &q))
				show(k, slot, q, &s);
			break;
		case 2:
		case 3:
			if (evtchn_bind_interdomain(d, o, atomic_load(&board[!k][slot]), &q))
				break;
			atomic_fetch_add(&binds, 1);
			show(k, rnd(&s) % SLOTS, q, &s);
			break;
		case 4:
		case 5:
			evtchn_close(d, p);
			break;
		case 6:
			evtchn_bind_vcpu(d, p, rnd(&s) % 2);
			break;
		default:
			evtchn_send(d, p);
		}
		if (n % 16 == 0)
			host_service();
	}
}

static unsigned nr_used, nr_linked;

static int check_port(struct domain *d, struct evtchn *e, evtchn_port_t port)
{
	uint64_t w = atomic_load(&e->state), pw;
	struct domain *o = d == dom[0] ? dom[1] : dom[0];

	switch (ec_kind(w)) {
	case EC_FREE:
		return 0;
	case EC_UNBOUND:
		cr_assert_eq(ec_dom(w), o->id);
		break;
	case EC_INTERDOMAIN:
		cr_assert_eq(ec_dom(w), o->id);
		pw = atomic_load(&ec_lookup(o, ec_port(w))->state);
		cr_assert_eq(ec_kind(pw), EC_INTERDOMAIN, "port %u: a link with one end", port);
		cr_assert_eq(ec_port(pw), port);
		cr_assert_eq(ec_dom(pw), d->id);
		nr_linked++;
		break;
	default:
		cr_assert_fail("port %u is left in kind %d", port, ec_kind(w));
	}
	nr_used++;
	return 0;
}

static void storm_thread(void *arg)
{
	unsigned id = this_pcpu()->id;

	(void)arg;
	if (id == 0) {
		world_memory();
		dom[0] = new_domain(2);
		dom[1] = new_domain(2);
	}
	pthread_barrier_wait(&ready);
	storm(id);
	pthread_barrier_wait(&ready);
	if (id)
		return;
	nr_used = nr_linked = 0;
	ec_for_each(dom[0], check_port);
	ec_for_each(dom[1], check_port);
	fprintf(stderr, "%u links made; %u ports in use, %u of them linked\n", binds, nr_used,
		nr_linked);
	cr_assert(nr_linked % 2 == 0);
	/* Closing one side leaves the other all unbound; then nothing is left. */
	do
		host_service();
	while (evtchn_reset(dom[0]) == -HC_CONTINUE);
	nr_linked = 0;
	ec_for_each(dom[1], check_port);
	cr_assert_eq(nr_linked, 0);
	nr_used = 0;
	ec_for_each(dom[0], check_port);
	cr_assert_eq(nr_used, 0);
}

Test(evtchn_race, links)
{
	run(STORM_THREADS, storm_thread);
}

/*
 * Two bind to one port while a third closes it or not: one at most succeeds, and its end is linked
 * or, after the close, unbound.
 */
#define DUELS 4000

static _Atomic unsigned duel, duel_done;
static evtchn_port_t duel_port, won[2];
static bool duel_close;

static void wait_duel(_Atomic unsigned *word, unsigned least)
{
	for (unsigned n = 0; atomic_load(word) < least; n++)
		n % 256 ? cpu_relax() : (void)sched_yield();
}

static void judge(void)
{
	struct evtchn_status st;

	cr_assert(!won[0] || !won[1], "both bound");
	cr_assert(duel_close || won[0] || won[1], "nobody bound");
	for (unsigned i = 0; i < 2; i++) {
		if (!won[i])
			continue;
		cr_assert_eq(evtchn_status(dom[1], won[i], &st), 0);
		cr_assert_eq(st.status, duel_close ? EVTCHNSTAT_unbound : EVTCHNSTAT_interdomain);
		cr_assert_eq(evtchn_close(dom[1], won[i]), 0);
		won[i] = 0;
	}
	if (!duel_close)
		cr_assert_eq(evtchn_close(dom[0], duel_port), 0);
	nr_used = 0;
	ec_for_each(dom[0], check_port);
	ec_for_each(dom[1], check_port);
	cr_assert_eq(nr_used, 0);
}

static void duel_thread(void *arg)
{
	unsigned id = this_pcpu()->id;
	uint64_t s = seed0 + id;

	(void)arg;
	if (id == 0) {
		world_memory();
		dom[0] = new_domain(1);
		dom[1] = new_domain(1);
		atomic_store(&duel, 0);
		atomic_store(&duel_done, 0);
	}
	pthread_barrier_wait(&ready);
	for (unsigned n = 1; n <= DUELS; n++) {
		if (id == 0) {
			duel_close = rnd(&s) % 4;
			cr_assert_eq(evtchn_alloc_unbound(dom[0], dom[1]->id, &duel_port), 0);
			atomic_store(&duel, n);
		}
		wait_duel(&duel, n);
		for (unsigned k = rnd(&s) % 64; k; k--)
			cpu_relax();
		if (id == 2) {
			if (duel_close)
				cr_assert_eq(evtchn_close(dom[0], duel_port), 0);
		} else if (evtchn_bind_interdomain(dom[1], dom[0], duel_port, &won[id])) {
			won[id] = 0;
		}
		atomic_fetch_add(&duel_done, 1);
		if (id == 0) {
			wait_duel(&duel_done, n * 3);
			judge();
		}
		if (n % 32 == 0)
			host_service();
	}
}

Test(evtchn_race, bind_against_close)
{
	run(3, duel_thread);
}

/* ---- a domain ends while others send to it and bind at it ---- */

static _Atomic bool torn;

static void teardown_thread(void *arg)
{
	unsigned id = this_pcpu()->id;
	uint64_t s = seed0 + id;
	evtchn_port_t p[64], q;

	(void)arg;
	if (id == 0) {
		world_memory();
		dom[0] = new_domain(1);
		dom[1] = new_domain(1);
		atomic_store(&torn, false);
	}
	pthread_barrier_wait(&ready);
	for (unsigned i = 0; i < 64; i++)
		cr_assert_eq(evtchn_alloc_unbound(dom[1], dom[0]->id, &p[i]), 0);
	pthread_barrier_wait(&ready);
	if (id == 0) {
		while (!evtchn_teardown(dom[1]))
			host_service();
		atomic_store(&torn, true);
	} else {
		for (unsigned n = 0; n < 2000 || !atomic_load(&torn); n++) {
			unsigned i = rnd(&s) % 64;

			if (!evtchn_bind_interdomain(dom[0], dom[1], p[i], &q))
				for (unsigned k = 0; k < 8; k++)
					evtchn_send(dom[0], q);
			host_service();
		}
	}
	pthread_barrier_wait(&ready);
	if (id)
		return;
	nr_used = 0;
	ec_for_each(dom[1], check_port);
	cr_assert_eq(nr_used, 0, "all its ports are closed");
	nr_linked = 0;
	ec_for_each(dom[0], check_port);
	cr_assert_eq(nr_linked, 0, "nothing is linked with it");
}

Test(evtchn_race, teardown)
{
	run(3, teardown_thread);
}

/* ---- polls ---- */

#define POLLS 3000

static evtchn_port_t poll_a, poll_b;
static _Atomic unsigned polled;

/* Begin, check, "block" until woken: a lost wake-up leaves it here for ever. */
static void poller(void)
{
	struct vcpu *v = b->vcpu[1];

	for (unsigned n = 0; n < POLLS;) {
		cr_assert_eq(evtchn_poll_begin(v, &poll_b, 1), 0);
		if (evtchn_port_pending(v, poll_b))
			evtchn_poll_end(v);
		while (atomic_load(&v->polling)) {
			host_service();
			sched_yield();
		}
		vcpu_event_pending(v);
		host_service();
		/* The last event's sender may be on its way to the pollers still: a wake too many. */
		if (!evtchn_port_pending(v, poll_b))
			continue;
		n++;
		g2_clear(b, poll_b);
		atomic_fetch_add(&polled, 1);
	}
}

static void poll_thread(void *arg)
{
	(void)arg;
	if (this_pcpu()->id == 0) {
		world_memory();
		a = new_domain(1);
		b = new_domain(2);
		cr_assert_eq(evtchn_alloc_unbound(a, b->id, &poll_a), 0);
		cr_assert_eq(evtchn_bind_interdomain(b, a, poll_a, &poll_b), 0);
		evtchn_bind_vcpu(b, poll_b, 0);
		g2_mask(b, poll_b);
		g2_clear(b, poll_b);
		atomic_store(&polled, 0);
	}
	pthread_barrier_wait(&ready);
	if (this_pcpu()->id == 1) {
		poller();
		return;
	}
	for (unsigned n = 0; n < POLLS; n++) {
		evtchn_send(a, poll_a);
		while (atomic_load(&polled) == n) {
			host_service();
			sched_yield();
		}
	}
}

Test(evtchn_race, polls)
{
	run(2, poll_thread);
	cr_assert_eq(atomic_load(&polled), POLLS);
}
