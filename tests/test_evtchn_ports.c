/* SPDX-License-Identifier: MIT */
/*
 * Which ports are given out (core/evtchn_table.c): chunks of the vCPUs, what is left to others, the
 * last port; that two vCPUs write nothing in common; and all of it with a pCPU per vCPU.
 */
#include "test_evtchn.h"

#define VCPUS 4

static struct domain *d, *other;

static void setup(void)
{
	world_sim(VCPUS);
	d = new_domain(VCPUS);
	other = new_domain(1);
	world_settle();
}

TestSuite(evtchn_ports, .init = setup);

/* From here on vCPU @v makes the calls. */
static void as(unsigned v)
{
	this_pcpu()->current = NULL;
	host_become(v);
	this_pcpu()->current = d->vcpu[v];
}

static evtchn_port_t bind_as(unsigned v)
{
	evtchn_port_t p;

	as(v);
	cr_assert_eq(evtchn_bind_ipi(d, v, &p), 0);
	return p;
}

static void close_as(unsigned v, evtchn_port_t p)
{
	as(v);
	cr_assert_eq(evtchn_close(d, p), 0);
}

Test(evtchn_ports, chunks)
{
	/* vCPU 0 has the first one, also for what others ask for; next come those who ask first. */
	as(3);
	cr_assert_eq(bind_as(3), EVTCHN_CHUNK);
	for (evtchn_port_t p = 1; p < EVTCHN_CHUNK; p++)
		cr_assert_eq(bind_as(0), p);
	cr_assert_eq(bind_as(0), 2 * EVTCHN_CHUNK);
	for (evtchn_port_t i = 1; i < EVTCHN_CHUNK; i++)
		cr_assert_eq(bind_as(3), EVTCHN_CHUNK + i);
	cr_assert_eq(bind_as(3), 3 * EVTCHN_CHUNK);
	/* A port of one's own below comes before a chunk that is nobody's. */
	close_as(3, EVTCHN_CHUNK + 7);
	for (evtchn_port_t i = 1; i < EVTCHN_CHUNK; i++)
		bind_as(3);
	cr_assert_eq(bind_as(3), EVTCHN_CHUNK + 7);
	cr_assert_eq(bind_as(3), 4 * EVTCHN_CHUNK);
}

Test(evtchn_ports, other_domains_calls)
{
	evtchn_port_t p;

	bind_as(2);
	this_pcpu()->current = other->vcpu[0];
	cr_assert_eq(evtchn_alloc_unbound(d, other->id, &p), 0);
	cr_assert_eq(p, 1);
	cr_assert_eq(evtchn_alloc_hyp(d, 0, NULL, &p), 0);
	cr_assert_eq(p, 2);
	cr_assert_eq(evtchn_close(d, 1), 0);
	cr_assert_eq(bind_as(0), 1);
}

static struct evtchn *record(evtchn_port_t p)
{
	struct evtchn *e = ec_lookup(d, p);

	cr_assert(e);
	return e;
}

/* What vCPU 1's calls read and write, byte for byte the same while vCPU 0 binds and closes. */
Test(evtchn_ports, nothing_written_in_common)
{
	static struct evtchn chunk[EVTCHN_CHUNK];
	evtchn_port_t p0 = bind_as(0), p1 = bind_as(1);
	struct evtchn_ports hints;
	struct evtchn_dom dom;
	struct evtchn *mine = record(p1 - p1 % EVTCHN_CHUNK);

	cr_assert_neq(p0 / EVTCHN_CHUNK, p1 / EVTCHN_CHUNK);
	memcpy(chunk, mine, sizeof(chunk));
	memcpy(&hints, &d->vcpu[1]->ports, sizeof(hints));
	memcpy(&dom, &d->evt, sizeof(dom));
	for (unsigned n = 0; n < 1000; n++) {
		evtchn_port_t q[4];

		for (unsigned i = 0; i < 4; i++)
			q[i] = bind_as(0);
		for (unsigned i = 0; i < 4; i++)
			close_as(0, q[i]);
	}
	cr_assert(!memcmp(chunk, mine, sizeof(chunk)));
	cr_assert(!memcmp(&hints, &d->vcpu[1]->ports, sizeof(hints)));
	cr_assert(!memcmp(&dom, &d->evt, sizeof(dom)));
}

/* A present chunk with nothing in use stays its vCPU's, however often others look for one. */
Test(evtchn_ports, present_chunk_is_not_taken)
{
	evtchn_port_t first[VCPUS], p;

	for (unsigned v = 0; v < VCPUS; v++) {
		first[v] = bind_as(v);
		close_as(v, first[v]);
	}
	for (unsigned n = 0; n < 100; n++) {
		p = bind_as(0); /* uses up chunk after chunk */
		for (unsigned v = 1; v < VCPUS; v++)
			cr_assert_neq(p / EVTCHN_CHUNK, first[v] / EVTCHN_CHUNK);
		for (unsigned v = 1; v < VCPUS; v++) {
			p = bind_as(v);
			cr_assert_eq(p / EVTCHN_CHUNK, first[v] / EVTCHN_CHUNK);
			close_as(v, p);
		}
	}
}

/* What a vCPU has left goes to others before the table grows. */
Test(evtchn_ports, left_chunks_are_taken)
{
	evtchn_port_t p[200], most = 0, q;

	for (unsigned v = 1; v < VCPUS; v++) {
		for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
			p[i] = bind_as(v);
			most = MAX(most, p[i]);
		}
		/* By whom does not matter. */
		for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
			close_as(i % VCPUS, p[i]);
	}
	cr_assert(most < ROUND_UP(ARRAY_SIZE(p) + 2 * VCPUS * EVTCHN_CHUNK, EVTCHN_PORTS_PER_PAGE),
		  "port %u", most);
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
		q = bind_as(0);
		cr_assert(q <= most, "port %u, %u before", q, most);
	}
}

Test(evtchn_ports, ports_closed_by_others_are_used_again)
{
	for (unsigned n = 0; n < 5000; n++) {
		evtchn_port_t p[5];

		for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
			p[i] = bind_as(1);
			cr_assert(p[i] < EVTCHN_PORTS_PER_PAGE, "port %u", p[i]);
		}
		for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
			close_as(2, p[i]);
	}
}

/* Whoever asks gets every port there is, each once; then each that is closed, whoever closed it. */
static void exhaust(evtchn_port_t limit)
{
	uint8_t *used = calloc(limit, 1);
	uint64_t s = seed_from_env();
	evtchn_port_t p, q;
	unsigned n = 1;

	for (; n < limit; n++) {
		p = bind_as(rnd(&s) % VCPUS);
		cr_assert(p && p < limit && !used[p], "port %u", p);
		used[p] = 1;
	}
	for (unsigned v = 0; v < VCPUS; v++) {
		as(v);
		cr_assert_eq(evtchn_bind_ipi(d, 0, &p), -XEN_ENOSPC);
	}
	for (n = 0; n < 200; n++) {
		q = 1 + rnd(&s) % (limit - 1);
		close_as(rnd(&s) % VCPUS, q);
		cr_assert_eq(bind_as(rnd(&s) % VCPUS), q);
		cr_assert_eq(evtchn_bind_ipi(d, 0, &p), -XEN_ENOSPC);
	}
	/* All again from the lowest. */
	while (evtchn_reset(d) == -HC_CONTINUE)
		host_service();
	cr_assert_eq(bind_as(0), 1);
	cr_assert(bind_as(1) < EVTCHN_PORTS_PER_PAGE);
	free(used);
}

Test(evtchn_ports, all_2l)
{
	exhaust(EVTCHN_2L_NR_CHANNELS);
}

Test(evtchn_ports, all_fifo_then_2l)
{
	struct gfifo g;
	evtchn_port_t p;

	cr_assert_eq(gf_init(&g, d->vcpu[0]), 0);
	exhaust(EVTCHN_MAX_PORTS);
	/* After a reset to 2-level, nothing above its limit is given out. */
	for (unsigned n = 3; n < EVTCHN_2L_NR_CHANNELS; n++)
		cr_assert(bind_as(n % VCPUS) < EVTCHN_2L_NR_CHANNELS);
	cr_assert_eq(evtchn_bind_ipi(d, 0, &p), -XEN_ENOSPC);
}

/* ---- a pCPU per vCPU ---- */

#define STEPS 60000

static pthread_barrier_t ready;
static _Atomic uint8_t *taken;
static uint64_t seed0;
static unsigned hold; /* ports that each thread holds at most */
static _Atomic unsigned full;

/* Binds and closes at random, its own and, through @given, others' ports. */
static _Atomic evtchn_port_t given[VCPUS];

static void give_back(evtchn_port_t p)
{
	cr_assert_eq(atomic_exchange(&taken[p], 0), 1);
	cr_assert_eq(evtchn_close(d, p), 0);
}

static void churn(unsigned id)
{
	evtchn_port_t *own = calloc(hold, sizeof(*own)), p;
	uint64_t s = seed0 + id * 977;
	unsigned n = 0;
	int rc;

	for (unsigned step = 0; step < STEPS; step++) {
		unsigned k = n ? rnd(&s) % n : 0;

		switch (rnd(&s) % 8) {
		case 0:
			if (!n)
				break;
			p = atomic_exchange(&given[rnd(&s) % VCPUS], own[k]);
			own[k] = own[--n];
			if (p)
				give_back(p);
			break;
		case 1:
		case 2:
			if (!n)
				break;
			give_back(own[k]);
			own[k] = own[--n];
			break;
		default:
			if (n == hold)
				break;
			rc = evtchn_bind_ipi(d, id, &p);
			if (rc == -XEN_ENOSPC) {
				atomic_fetch_add(&full, 1);
				break;
			}
			cr_assert_eq(rc, 0);
			cr_assert(p && p < EVTCHN_2L_NR_CHANNELS);
			cr_assert_eq(atomic_exchange(&taken[p], 1), 0, "port %u twice", p);
			own[n++] = p;
		}
		if (step % 64 == 0)
			host_service();
	}
	free(own);
}

static int used_is_taken(struct domain *dom, struct evtchn *e, evtchn_port_t port)
{
	(void)dom;
	cr_assert_eq(ec_kind(atomic_load(&e->state)), atomic_load(&taken[port]) ? EC_IPI : EC_FREE,
		     "port %u", port);
	return 0;
}

static void churn_thread(void *arg)
{
	unsigned id = this_pcpu()->id, n = 1;
	evtchn_port_t p;

	(void)arg;
	if (id == 0) {
		world_memory();
		d = new_domain(VCPUS);
		taken = calloc(EVTCHN_2L_NR_CHANNELS, 1);
		memset((void *)given, 0, sizeof(given));
	}
	pthread_barrier_wait(&ready);
	this_pcpu()->current = d->vcpu[id];
	churn(id);
	pthread_barrier_wait(&ready);
	if (id == 0) {
		ec_for_each(d, used_is_taken);
		for (unsigned i = 1; i < EVTCHN_2L_NR_CHANNELS; i++)
			n += atomic_load(&taken[i]);
		fprintf(stderr, "%u ports in use, ENOSPC %u times\n", n - 1, atomic_load(&full));
		/* What is left can be had to the last one. */
		for (; n < EVTCHN_2L_NR_CHANNELS; n++) {
			cr_assert_eq(evtchn_bind_ipi(d, 0, &p), 0);
			cr_assert_eq(atomic_exchange(&taken[p], 1), 0);
		}
		cr_assert_eq(evtchn_bind_ipi(d, 0, &p), -XEN_ENOSPC);
		free((void *)taken);
	}
	this_pcpu()->current = NULL;
	pthread_barrier_wait(&ready);
}

static void run_churn(unsigned most)
{
	seed0 = seed_from_env();
	hold = most;
	pthread_barrier_init(&ready, NULL, VCPUS);
	run_shaken(VCPUS, churn_thread);
}

/* Few ports: the hints meet. */
Test(evtchn_ports_race, few)
{
	run_churn(24);
	cr_assert_eq(atomic_load(&full), 0);
}

/* More than there are: all steal from all. */
Test(evtchn_ports_race, too_many)
{
	run_churn(2000);
	cr_assert(atomic_load(&full), "the ports never ran out");
}
