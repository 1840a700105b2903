/* SPDX-License-Identifier: MIT */
/*
 * Rings: layout, hostile other sides, notification avoidance; with two threads: each message comes
 * once, in order, none is lost, nobody sleeps on work. The checks are shown to catch a ring whose
 * producer publishes too early and one whose consumer does not look again before it sleeps.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "ioring/byte_ring.h"
#include "ioring/queue.h"
#include "ioring/ring.h"
#include "tests/seed.h"

#define xen_mb() __sync_synchronize()
#define xen_rmb() __sync_synchronize()
#define xen_wmb() __sync_synchronize()
#include <string.h>
#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xen/io/blkif.h>

struct req {
	uint64_t id;
	uint64_t sum; /* id * 3 + 1: a slot read before it was written shows */
};
struct rsp {
	uint64_t id;
};
RING_TYPED(t, struct req, struct rsp)

static char page[PAGE_SIZE] ALIGNED(4096);
static struct ring_front f;
static struct ring_back b;

static void setup(void)
{
	ring_front_init(&f, page, sizeof(page), t_ring_slot_size);
	ring_back_attach(&b, page, sizeof(page), t_ring_slot_size);
}

TestSuite(ioring, .init = setup);

static struct req mk(uint64_t id)
{
	return (struct req){id, id * 3 + 1};
}

/* The macros of <xen/io/ring.h> on one side, ours on the other. */
Test(ioring, layout_is_xens)
{
	blkif_sring_t *s = (blkif_sring_t *)page;
	blkif_front_ring_t xf;
	blkif_back_ring_t xb;
	const uint32_t slot = sizeof(union blkif_sring_entry);
	blkif_request_t rq = {.id = 77};
	blkif_response_t rs = {.id = 0};
	int notify, work;

	cr_assert_eq(offsetof(blkif_sring_t, ring), sizeof(struct ring_shared));
	XEN_FRONT_RING_INIT(&xf, s, PAGE_SIZE);
	ring_back_attach(&b, page, sizeof(page), slot);
	cr_assert_eq(b.nr, RING_SIZE(&xf));
	*RING_GET_REQUEST(&xf, xf.req_prod_pvt) = rq;
	xf.req_prod_pvt++;
	RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&xf, notify);
	cr_assert(notify);
	cr_assert_eq(ring_back_get(&b, &rq, sizeof(rq)), 1);
	cr_assert_eq(rq.id, 77);
	rs.id = 78;
	cr_assert(ring_back_put(&b, &rs, sizeof(rs)));
	cr_assert(ring_back_push(&b, 0));
	RING_FINAL_CHECK_FOR_RESPONSES(&xf, work);
	cr_assert(work);
	cr_assert_eq(RING_GET_RESPONSE(&xf, xf.rsp_cons)->id, 78);

	ring_front_init(&f, page, sizeof(page), slot);
	BACK_RING_INIT(&xb, s, PAGE_SIZE);
	rq.id = 5;
	cr_assert(ring_front_put(&f, &rq, sizeof(rq)));
	cr_assert(ring_front_push(&f, 0));
	RING_FINAL_CHECK_FOR_REQUESTS(&xb, work);
	cr_assert(work);
	RING_COPY_REQUEST(&xb, xb.req_cons, &rq);
	cr_assert_eq(rq.id, 5);
	xb.req_cons++;
	RING_FINAL_CHECK_FOR_REQUESTS(&xb, work);
	cr_assert(!work);
	cr_assert_eq(s->req_event, 2);
	cr_assert(ring_front_put(&f, &rq, sizeof(rq)));
	cr_assert(ring_front_push(&f, 1), "the back asked for this one");
}

Test(ioring, full_and_empty)
{
	struct req rq = mk(0);
	struct rsp rs = {0};

	cr_assert_eq(f.nr, 128);
	cr_assert_eq(t_back_get(&b, &rq), 0);
	for (unsigned i = 0; i < f.nr; i++) {
		rq = mk(i);
		cr_assert(t_front_put(&f, &rq));
	}
	cr_assert(!t_front_put(&f, &rq), "full");
	cr_assert_eq(t_back_get(&b, &rq), 0, "not published yet");
	ring_front_push(&f, 0);
	for (unsigned i = 0; i < b.nr; i++) {
		cr_assert_eq(t_back_get(&b, &rq), 1);
		cr_assert_eq(rq.id, i);
	}
	cr_assert_eq(t_back_get(&b, &rq), 0);
	cr_assert_eq(ring_front_free(&f), 0, "slots are free when answered");
	cr_assert_eq(t_front_get(&f, &rs), 0);
	for (unsigned i = 0; i < b.nr; i++) {
		rs.id = i;
		cr_assert(t_back_put(&b, &rs));
	}
	cr_assert(!t_back_put(&b, &rs), "no request left to answer");
	ring_back_push(&b, 0);
	for (unsigned i = 0; i < f.nr; i++)
		cr_assert_eq(t_front_get(&f, &rs), 1);
	cr_assert_eq(ring_front_free(&f), f.nr);
}

Test(ioring, hostile_other_side)
{
	struct ring_shared *s = (struct ring_shared *)page;
	struct req rq = mk(1);
	struct rsp rs = {0};

	atomic_store(&s->req_prod, b.nr + 1);
	cr_assert_eq(t_back_get(&b, &rq), RING_BROKEN);
	atomic_store(&s->req_prod, UINT32_MAX);
	cr_assert_eq(t_back_get(&b, &rq), RING_BROKEN);
	cr_assert_eq(ring_back_sleep(&b, 1), RING_BROKEN);
	atomic_store(&s->req_prod, b.nr);
	cr_assert_eq(t_back_get(&b, &rq), 1, "usable again once it makes sense");
	/* Requests taken and not answered count: no more than the slots. */
	while (t_back_get(&b, &rq) == 1)
		;
	atomic_store(&s->req_prod, b.nr + 5);
	cr_assert_eq(t_back_get(&b, &rq), RING_BROKEN);
	/* Responses to requests never made. */
	setup();
	atomic_store(&s->rsp_prod, 1);
	cr_assert_eq(t_front_get(&f, &rs), RING_BROKEN);
	cr_assert(t_front_put(&f, &rq));
	cr_assert_eq(t_front_get(&f, &rs), 1);
	atomic_store(&s->rsp_prod, 2);
	cr_assert_eq(t_front_get(&f, &rs), RING_BROKEN);
	/* A published index that the other side scribbled over is not believed. */
	setup();
	atomic_store(&s->req_prod, 99);
	cr_assert(t_front_put(&f, &rq));
	ring_front_push(&f, 0);
	cr_assert_eq(atomic_load(&s->req_prod), 1);
}

Test(ioring, notification_avoidance)
{
	struct req rq = mk(1);
	uint32_t from = f.req_prod;

	t_front_put(&f, &rq);
	cr_assert(ring_front_push(&f, from), "the first one always");
	for (unsigned i = 0; i < 10; i++) {
		from = f.req_prod;
		t_front_put(&f, &rq);
		cr_assert(!ring_front_push(&f, from), "the back is awake");
	}
	while (t_back_get(&b, &rq) == 1)
		;
	cr_assert_eq(ring_back_sleep(&b, 4), 0);
	for (unsigned i = 1; i <= 6; i++) {
		from = f.req_prod;
		t_front_put(&f, &rq);
		cr_assert_eq(ring_front_push(&f, from), i == 4, "only when the batch is full");
	}
	cr_assert_eq(ring_back_sleep(&b, 1), 6, "look again before sleeping");
}

Test(ioring, indexes_wrap)
{
	struct ring_shared *s = (struct ring_shared *)page;
	struct req rq = {0};
	struct rsp rs = {0};

	atomic_store(&s->req_prod, UINT32_MAX - 3);
	atomic_store(&s->rsp_prod, UINT32_MAX - 3);
	ring_front_attach(&f, page, sizeof(page), t_ring_slot_size);
	ring_back_attach(&b, page, sizeof(page), t_ring_slot_size);
	for (unsigned i = 0; i < 1000; i++) {
		uint32_t from = f.req_prod, rfrom = b.rsp_prod;

		rq = mk(i);
		cr_assert(t_front_put(&f, &rq));
		ring_front_push(&f, from);
		cr_assert_eq(t_back_get(&b, &rq), 1);
		rs.id = rq.id;
		cr_assert(t_back_put(&b, &rs));
		ring_back_push(&b, rfrom);
		cr_assert_eq(t_front_get(&f, &rs), 1);
		cr_assert_eq(rs.id, i);
	}
}

/* ---- two threads over the ring, with real sleeping ---- */

#define MESSAGES 100000

/* An event: set by notify, waited for before sleeping on. A lost notification is a hang, which the
 * waiter turns into a verdict: both sides asleep and work in the ring. */
static _Atomic bool to_back, to_front;
static _Atomic unsigned asleep;
static _Atomic bool lost, finished, garbled;
static uint64_t notifications;

enum variant { RIGHT, PUBLISH_EARLY, NO_SECOND_LOOK };
static enum variant variant;

static bool over(void)
{
	return atomic_load(&lost) || atomic_load(&garbled);
}

static void wait_event(_Atomic bool *ev)
{
	unsigned stuck = 0;

	if (atomic_exchange(ev, false))
		return;
	atomic_fetch_add(&asleep, 1);
	while (!atomic_exchange(ev, false) && !atomic_load(&finished) && !over()) {
		/* For so many turns of the processor: not just about to wake. */
		if (atomic_load(&asleep) == 2 && ++stuck > 200000)
			atomic_store(&lost, true);
		sched_yield();
	}
	atomic_fetch_sub(&asleep, 1);
}

static void *back(void *arg)
{
	struct req rq = {0};
	struct rsp rs = {0};
	uint64_t next = 0;

	(void)arg;
	while (next < MESSAGES && !over()) {
		uint32_t from = b.rsp_prod;
		int left;

		while (t_back_get(&b, &rq) > 0) {
			if (rq.id != next || rq.sum != next * 3 + 1)
				atomic_store(&garbled, true);
			next++;
			rs.id = rq.id;
			t_back_put(&b, &rs);
		}
		if (b.rsp_prod != from && ring_back_push(&b, from))
			atomic_store(&to_front, true);
		left = ring_back_sleep(&b, 1);
		if (variant == NO_SECOND_LOOK)
			left = 0;
		if (!left && next < MESSAGES)
			wait_event(&to_back);
	}
	return NULL;
}

static void front(uint64_t s)
{
	uint64_t put = 0, done = 0;
	struct rsp rs = {0};

	while (done < MESSAGES && !over()) {
		uint32_t from = f.req_prod, batch = 1 + (uint32_t)seed_next(&s) % 40;

		for (; batch && put < MESSAGES && ring_front_free(&f); batch--) {
			struct req rq = mk(put++);

			if (variant == PUBLISH_EARLY) {
				atomic_store(&f.s->req_prod, f.req_prod + 1);
				sched_yield();
			}
			t_front_put(&f, &rq);
		}
		if (f.req_prod != from && ring_front_push(&f, from)) {
			notifications++;
			atomic_store(&to_back, true);
		}
		while (t_front_get(&f, &rs) > 0) {
			if (rs.id != done)
				atomic_store(&garbled, true);
			done++;
		}
		if (put < MESSAGES && ring_front_free(&f))
			continue;
		if (done < MESSAGES && !ring_front_sleep(&f, 1))
			wait_event(&to_front);
	}
	atomic_store(&finished, true);
}

static void run_pair(enum variant v)
{
	pthread_t th;

	variant = v;
	atomic_store(&to_back, false);
	atomic_store(&to_front, false);
	notifications = 0;
	pthread_create(&th, NULL, back, NULL);
	front(seed_from_env());
	pthread_join(th, NULL);
}

Test(ioring, two_threads)
{
	run_pair(RIGHT);
	cr_assert(!garbled, "each message once and in order");
	cr_assert(!lost, "nobody sleeps on work");
	fprintf(stderr, "%u messages, %llu notifications of the back\n", MESSAGES,
		(unsigned long long)notifications);
	cr_assert(notifications < MESSAGES);
}

#ifndef __SANITIZE_THREAD__
/* Racy on purpose: what the checks above are for. Repeated until caught, which proves they can. */
Test(ioring, publishing_early_is_caught)
{
	for (unsigned n = 0; n < 5000 && !garbled; n++) {
		setup();
		atomic_store(&finished, false);
		run_pair(PUBLISH_EARLY);
	}
	cr_assert(garbled);
}
#endif

/* A consumer that sleeps without looking again: both sides end up asleep with work in the ring. */
Test(ioring, sleeping_without_a_look_is_caught)
{
	for (unsigned n = 0; n < 5000 && !lost; n++) {
		setup();
		atomic_store(&finished, false);
		run_pair(NO_SECOND_LOOK);
	}
	cr_assert(lost);
	cr_assert(!garbled);
}

/* The same, stepped by hand through the one interleaving that matters. */
Test(ioring, no_second_look_is_caught)
{
	struct req rq = mk(0);

	t_front_put(&f, &rq);
	ring_front_push(&f, 0);
	cr_assert_eq(t_back_get(&b, &rq), 1);
	cr_assert_eq(t_back_get(&b, &rq), 0, "the back finds nothing");
	t_front_put(&f, &rq);
	cr_assert(!ring_front_push(&f, 1), "the front does not notify: the event is not set yet");
	/* Now the back sets the event. Without the look that follows it would sleep for good. */
	cr_assert_eq(ring_back_sleep(&b, 1), 1);
}

/* ---- byte ring ---- */

static struct {
	char buf[64];
	uint32_t prod, cons;
} st;
static struct byte_ring w, r;

static void byte_setup(void)
{
	memset(&st, 0, sizeof(st));
	st.prod = st.cons = UINT32_MAX - 20;
	byte_ring_writer(&w, st.buf, sizeof(st.buf), &st.prod, &st.cons);
	byte_ring_reader(&r, st.buf, sizeof(st.buf), &st.prod, &st.cons);
}

TestSuite(byte_ring, .init = byte_setup);

Test(byte_ring, wraps_and_fills)
{
	char in[200], out[200];
	long n;

	for (unsigned i = 0; i < sizeof(in); i++)
		in[i] = (char)i;
	cr_assert_eq(byte_ring_read(&r, out, 10), 0);
	cr_assert_eq(byte_ring_write(&w, in, 200), 64);
	cr_assert_eq(byte_ring_write(&w, in, 1), 0);
	cr_assert_eq(byte_ring_read(&r, out, 10), 10);
	cr_assert(r.notify, "it was full");
	cr_assert_eq(byte_ring_write(&w, in + 64, 100), 10);
	n = byte_ring_read(&r, out + 10, 190);
	cr_assert_eq(n, 64);
	cr_assert_eq(memcmp(in, out, 74), 0);
}

Test(byte_ring, notifies_when_it_matters)
{
	char x[64] = {0};

	byte_ring_write(&w, x, 4);
	cr_assert(w.notify, "the reader may have found it empty");
	w.notify = false;
	byte_ring_write(&w, x, 4);
	cr_assert(!w.notify, "the reader has not caught up");
	byte_ring_read(&r, x, 8);
	cr_assert(!r.notify, "never more than half full");
	byte_ring_write(&w, x, 40);
	cr_assert(w.notify);
	byte_ring_read(&r, x, 1);
	cr_assert(r.notify);
}

Test(byte_ring, hostile_indexes)
{
	char x[64];

	st.prod = r.pvt + 65;
	cr_assert_eq(byte_ring_read(&r, x, 64), BYTE_RING_BROKEN);
	byte_ring_resync(&r);
	cr_assert_eq(byte_ring_read(&r, x, 64), 0);
	cr_assert_eq(st.cons, st.prod);
	st.cons = w.pvt + 1;
	cr_assert_eq(byte_ring_write(&w, x, 1), BYTE_RING_BROKEN);
	st.cons = w.pvt - 64;
	cr_assert_eq(byte_ring_write(&w, x, 1), 0, "full");
}

#define BYTES 400000

static void *byte_writer(void *arg)
{
	uint64_t s = *(uint64_t *)arg;
	uint32_t at = 0;

	while (at < BYTES) {
		char x[48];
		unsigned draw = 1 + (uint32_t)seed_next(&s) % 48, n = MIN(draw, BYTES - at);
		long k;

		for (unsigned i = 0; i < n; i++)
			x[i] = (char)((at + i) * 31 >> 3);
		k = byte_ring_write(&w, x, n);
		at += (uint32_t)k;
		if (!k)
			sched_yield();
	}
	return NULL;
}

Test(byte_ring, two_threads)
{
	uint64_t s = seed_from_env(), s2 = s + 1;
	uint32_t at = 0;
	pthread_t th;

	pthread_create(&th, NULL, byte_writer, &s);
	while (at < BYTES) {
		char x[64];
		long n = byte_ring_read(&r, x, 1 + (uint32_t)seed_next(&s2) % 64);

		cr_assert(n >= 0);
		for (long i = 0; i < n; i++, at++)
			cr_assert_eq(x[i], (char)(at * 31 >> 3), "byte %u", at);
		if (!n)
			sched_yield();
	}
	pthread_join(th, NULL);
	cr_assert_eq(byte_ring_avail(&r), 0);
}

/* ---- queues ---- */

struct item {
	uint32_t from, seq;
};
QUEUE_TYPED(item, item, 256)

/* Few of each: producers wait their turn to commit without leaving the processor, so where the
 * host takes one off it at the wrong moment, each item costs the others whole time slices. */
#define PRODUCERS 2
#define ITEMS 5000

static struct item_queue q;

Test(queue, bounds)
{
	struct item it = {1, 2};
	unsigned n = 0;

	item_queue_init(&q);
	cr_assert(!item_queue_get(&q, &it));
	while (item_queue_put_spsc(&q, &it))
		n++;
	cr_assert_eq(n, 255);
	cr_assert_eq(item_queue_len(&q), 255);
	cr_assert(item_queue_get(&q, &it));
	cr_assert(item_queue_put_spsc(&q, &it));
	item_queue_init(&q);
	for (n = 0; item_queue_put_mpsc(&q, &it); n++)
		;
	cr_assert_eq(n, 255);
}

#ifndef __SANITIZE_THREAD__ /* ck_pr is inline assembly, which TSan does not see */
static void *producer(void *arg)
{
	bool mpsc = *(bool *)arg;
	static _Atomic uint32_t ids;
	struct item it = {.from = mpsc ? atomic_fetch_add(&ids, 1) % PRODUCERS : 0};

	for (it.seq = 0; it.seq < ITEMS; it.seq++)
		while (!(mpsc ? item_queue_put_mpsc(&q, &it) : item_queue_put_spsc(&q, &it)))
			sched_yield();
	return NULL;
}

/* Nothing lost, nothing twice, each producer's in its order. */
static void consume(bool mpsc)
{
	unsigned n = mpsc ? PRODUCERS : 1;
	uint32_t next[PRODUCERS] = {0};
	pthread_t th[PRODUCERS];
	struct item it;

	item_queue_init(&q);
	for (unsigned i = 0; i < n; i++)
		pthread_create(&th[i], NULL, producer, &mpsc);
	for (unsigned got = 0; got < n * ITEMS;) {
		if (!item_queue_get(&q, &it)) {
			sched_yield();
			continue;
		}
		cr_assert(it.from < n);
		cr_assert_eq(it.seq, next[it.from], "producer %u", it.from);
		next[it.from]++;
		got++;
	}
	for (unsigned i = 0; i < n; i++)
		pthread_join(th[i], NULL);
	cr_assert(!item_queue_get(&q, &it));
}

Test(queue, spsc)
{
	consume(false);
}

Test(queue, mpsc)
{
	consume(true);
}
#endif
