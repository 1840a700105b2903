/* SPDX-License-Identifier: MIT */
/*
 * Rings: operations per second of each kind, one thread alone (cost of the code) and two threads
 * (cost of the hand-over), and what notification avoidance and batching save. One JSON line each.
 *
 *   ring_bench [operations]
 *
 * Compare figures of one run only; "ratio" is against the first line of the same group.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "ioring/byte_ring.h"
#include "ioring/queue.h"
#include "ioring/record_ring.h"
#include "ioring/ring.h"

struct req {
	uint64_t id, arg[3];
};
struct rsp {
	uint64_t id;
	int64_t status;
};
RING_TYPED(bench, struct req, struct rsp)

struct item {
	uint64_t v;
};
QUEUE_TYPED(item, item, 1024)

static uint64_t nr_ops = 2000000;
static double first;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void report(const char *group, const char *name, uint64_t ops, double secs, uint64_t notes)
{
	static char last[32];
	double rate = (double)ops / secs;

	if (snprintf(NULL, 0, "%s", group) && __builtin_strcmp(last, group) != 0) {
		snprintf(last, sizeof(last), "%s", group);
		first = rate;
	}
	printf("{\"group\":\"%s\",\"name\":\"%s\",\"ops\":%llu,\"ops_per_s\":%.0f,\"ratio\":%.3f,"
	       "\"notifications_per_op\":%.4f}\n",
	       group, name, (unsigned long long)ops, rate, rate / first,
	       (double)notes / (double)ops);
}

/* ---- one thread ---- */

static char page[4096] __attribute__((aligned(4096)));

static void ring_alone(unsigned batch)
{
	struct ring_front f;
	struct ring_back b;
	struct req rq = {0};
	struct rsp rs = {0};
	uint64_t notes = 0, done = 0;
	double t;
	char name[32];

	ring_front_init(&f, page, sizeof(page), bench_ring_slot_size);
	ring_back_attach(&b, page, sizeof(page), bench_ring_slot_size);
	t = now();
	while (done < nr_ops) {
		uint32_t from = f.req_prod, rfrom = b.rsp_prod;

		for (unsigned i = 0; i < batch; i++) {
			rq.id = done + i;
			bench_front_put(&f, &rq);
		}
		notes += ring_front_push(&f, from);
		while (bench_back_get(&b, &rq) > 0) {
			rs.id = rq.id;
			bench_back_put(&b, &rs);
		}
		notes += ring_back_push(&b, rfrom);
		ring_back_sleep(&b, 1);
		while (bench_front_get(&f, &rs) > 0)
			done++;
		ring_front_sleep(&f, 1);
	}
	snprintf(name, sizeof(name), "ring round trip, batch %u", batch);
	report("one thread", name, done, now() - t, notes);
}

static struct item_queue queue;

static void queue_alone(bool mpsc)
{
	struct item it = {0};
	double t;

	item_queue_init(&queue);
	t = now();
	for (uint64_t i = 0; i < nr_ops; i++) {
		it.v = i;
		if (mpsc)
			item_queue_put_mpsc(&queue, &it);
		else
			item_queue_put_spsc(&queue, &it);
		item_queue_get(&queue, &it);
	}
	report("one thread", mpsc ? "MPSC put and get" : "SPSC put and get", nr_ops, now() - t, 0);
}

static struct {
	char buf[2048];
	uint32_t prod, cons;
} stream;

static void stream_open(struct byte_ring *w, struct byte_ring *r)
{
	stream.prod = stream.cons = 0;
	byte_ring_writer(w, stream.buf, sizeof(stream.buf), &stream.prod, &stream.cons);
	byte_ring_reader(r, stream.buf, sizeof(stream.buf), &stream.prod, &stream.cons);
}

static void bytes_alone(unsigned chunk)
{
	struct byte_ring w, r;
	uint64_t notes = 0;
	char tmp[256] = {0}, name[32];
	double t;

	stream_open(&w, &r);
	t = now();
	for (uint64_t i = 0; i < nr_ops; i++) {
		byte_ring_write(&w, tmp, chunk);
		byte_ring_read(&r, tmp, chunk);
		notes += w.notify + r.notify;
		w.notify = r.notify = false;
	}
	snprintf(name, sizeof(name), "byte ring, %u bytes", chunk);
	report("one thread", name, nr_ops, now() - t, notes);
}

static void records_alone(unsigned len)
{
	struct byte_ring w, r;
	char tmp[256] = {0}, name[32];
	const struct record_piece record[] = {{tmp, 16}, {tmp, len - 16}};
	double t;

	stream_open(&w, &r);
	t = now();
	for (uint64_t i = 0; i < nr_ops; i++) {
		long n;

		record_ring_put(&w, record, 2);
		n = record_ring_next(&r);
		record_ring_copy(&r, 0, tmp, (uint32_t)n);
		record_ring_take(&r, n);
	}
	snprintf(name, sizeof(name), "record ring, %u bytes", len);
	report("one thread", name, nr_ops, now() - t, 0);
}

/* ---- two threads ---- */

static _Atomic bool go;
static uint64_t back_notes;

/* A back end that asks for a notification only when it has found nothing, or each time. */
static void *back_thread(void *arg)
{
	bool always = *(bool *)arg;
	struct ring_back b;
	struct req rq;
	struct rsp rs = {0};
	uint64_t done = 0;

	ring_back_attach(&b, page, sizeof(page), bench_ring_slot_size);
	atomic_store(&go, true);
	back_notes = 0;
	while (done < nr_ops) {
		uint32_t from = b.rsp_prod;

		while (bench_back_get(&b, &rq) > 0) {
			rs.id = rq.id;
			bench_back_put(&b, &rs);
			done++;
			if (always)
				ring_back_sleep(&b, 1);
		}
		if (b.rsp_prod != from)
			back_notes += ring_back_push(&b, from);
		else if (!ring_back_sleep(&b, 1))
			sched_yield();
	}
	return NULL;
}

static void ring_pair(bool always)
{
	struct ring_front f;
	struct req rq = {0};
	struct rsp rs;
	uint64_t done = 0, put = 0, notes = 0;
	pthread_t th;
	double t;

	ring_front_init(&f, page, sizeof(page), bench_ring_slot_size);
	atomic_store(&go, false);
	pthread_create(&th, NULL, back_thread, &always);
	while (!atomic_load(&go))
		;
	t = now();
	while (done < nr_ops) {
		uint32_t from = f.req_prod;
		bool took = false;

		while (put < nr_ops && bench_front_put(&f, &rq))
			put++;
		if (f.req_prod != from)
			notes += ring_front_push(&f, from);
		while (bench_front_get(&f, &rs) > 0) {
			done++;
			took = true;
		}
		if (!took && !ring_front_sleep(&f, 1))
			sched_yield();
	}
	t = now() - t;
	pthread_join(th, NULL);
	report("two threads",
	       always ? "ring, event set after each request" : "ring, event set before sleeping",
	       nr_ops, t, notes + back_notes);
}

static void *queue_thread(void *arg)
{
	struct item it = {0};

	for (uint64_t i = 0; i < nr_ops; i++) {
		it.v = i;
		while (!(*(bool *)arg ? item_queue_put_mpsc(&queue, &it)
				      : item_queue_put_spsc(&queue, &it)))
			sched_yield();
	}
	return NULL;
}

static void queue_pair(bool mpsc)
{
	struct item it;
	pthread_t th;
	double t;

	item_queue_init(&queue);
	t = now();
	pthread_create(&th, NULL, queue_thread, &mpsc);
	for (uint64_t i = 0; i < nr_ops;) {
		if (item_queue_get(&queue, &it))
			i++;
		else
			sched_yield();
	}
	t = now() - t;
	pthread_join(th, NULL);
	report("two threads", mpsc ? "MPSC queue" : "SPSC queue", nr_ops, t, 0);
}

static void *record_thread(void *arg)
{
	struct byte_ring w;
	char tmp[64] = {0};
	const struct record_piece record[] = {{tmp, 16}, {tmp, 48}};

	(void)arg;
	byte_ring_writer(&w, stream.buf, sizeof(stream.buf), &stream.prod, &stream.cons);
	for (uint64_t i = 0; i < nr_ops; i++)
		while (!record_ring_put(&w, record, 2))
			sched_yield();
	return NULL;
}

static void record_pair(void)
{
	struct byte_ring r;
	char tmp[64];
	pthread_t th;
	double t;

	stream.prod = stream.cons = 0;
	byte_ring_reader(&r, stream.buf, sizeof(stream.buf), &stream.prod, &stream.cons);
	t = now();
	pthread_create(&th, NULL, record_thread, NULL);
	for (uint64_t i = 0; i < nr_ops;) {
		long n = record_ring_next(&r);

		if (n > 0) {
			record_ring_copy(&r, 0, tmp, (uint32_t)n);
			record_ring_take(&r, n);
			i++;
		} else {
			sched_yield();
		}
	}
	t = now() - t;
	pthread_join(th, NULL);
	report("two threads", "record ring, 64 bytes", nr_ops, t, 0);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		nr_ops = strtoull(argv[1], NULL, 0);
	if (argc > 2 || nr_ops < 1000) {
		fprintf(stderr, "usage: %s [operations >= 1000]\n", argv[0]);
		return 2;
	}
	ring_alone(1);
	ring_alone(8);
	ring_alone(32);
	queue_alone(false);
	queue_alone(true);
	bytes_alone(16);
	bytes_alone(256);
	records_alone(64);
	records_alone(256);
	ring_pair(false);
	ring_pair(true);
	queue_pair(false);
	queue_pair(true);
	record_pair();
	return 0;
}
