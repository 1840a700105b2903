/* SPDX-License-Identifier: MIT */
/*
 * inbox [CPUS [SECONDS [SEED]]]: every pCPU posts to random others as fast as it can; afterwards
 * each message must have arrived once and in its sender's order. Prints the rate and how many
 * posts needed a kick. Exits 1 when something was lost, doubled or out of order.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/host/host.h"

#define POOL 512 /* messages in flight per sender */

struct note {
	struct inbox_msg msg;
	unsigned sender;
	uint64_t seq;
	_Atomic bool busy;
};

struct sender {
	struct note pool[POOL];
	uint64_t seq[MAX_PCPUS];  /* next to send, by receiver */
	uint64_t want[MAX_PCPUS]; /* next to receive, by sender */
	uint64_t sent, received, disorder, full;
} CACHE_ALIGNED;

static struct sender *senders;
static unsigned cpus, seed;
static uint64_t end_ns;
static _Atomic unsigned sending;
static _Atomic bool stop;

static void receive(struct inbox_msg *m)
{
	struct note *n = container_of(m, struct note, msg);
	struct sender *me = &senders[this_pcpu()->id];

	me->received++;
	me->disorder += me->want[n->sender]++ != n->seq;
	atomic_store_explicit(&n->busy, false, memory_order_release);
}

static void run(void *arg)
{
	unsigned self = this_pcpu()->id;
	struct sender *me = &senders[self];
	uint32_t rng = seed + self * 7919;

	(void)arg;
	for (unsigned i = 0; arch_now_ns() < end_ns; i++) {
		struct note *n = &me->pool[i % POOL];
		unsigned to;

		if (atomic_load_explicit(&n->busy, memory_order_acquire)) {
			me->full++;
			host_service();
			continue;
		}
		rng = rng * 1664525u + 1013904223u;
		to = (rng >> 8) % cpus;
		n->msg.fn = receive;
		n->sender = self;
		n->seq = me->seq[to]++;
		atomic_store_explicit(&n->busy, true, memory_order_relaxed);
		me->sent++;
		inbox_post(to, &n->msg);
		if (rng >> 28 == 0)
			host_service();
	}
	if (atomic_fetch_sub(&sending, 1) == 1)
		atomic_store(&stop, true);
	while (!atomic_load(&stop))
		host_service();
	host_service();
}

int main(int argc, char **argv)
{
	uint64_t sent = 0, received = 0, disorder = 0, kicks = 0, start;
	double seconds;

	cpus = argc > 1 ? (unsigned)atoi(argv[1]) : 4;
	seconds = argc > 2 ? atof(argv[2]) : 2;
	seed = argc > 3 ? (unsigned)atoi(argv[3]) : 1;
	if (cpus < 1 || cpus > MAX_PCPUS || seconds <= 0) {
		fprintf(stderr, "usage: inbox [CPUS [SECONDS [SEED]]]\n");
		return 2;
	}
	senders = aligned_alloc(CACHE_LINE, cpus * sizeof(*senders));
	if (!senders)
		return 2;
	for (unsigned i = 0; i < cpus; i++)
		senders[i] = (struct sender){.sent = 0};
	printf("%u pcpus, seed %u\n", cpus, seed);
	atomic_store(&sending, cpus);
	start = arch_now_ns();
	end_ns = start + (uint64_t)(seconds * 1e9);
	host_threads_start(cpus, run, NULL);
	host_threads_join();
	seconds = (double)(arch_now_ns() - start) / 1e9;
	for (unsigned i = 0; i < cpus; i++) {
		sent += senders[i].sent;
		received += senders[i].received;
		disorder += senders[i].disorder;
		kicks += atomic_load(&pcpu_get(i)->arch.kicks);
	}
	printf("%.0f messages/s, %.3f kicks per message\n", (double)sent / seconds,
	       (double)kicks / (double)sent);
	printf("sent %lu received %lu out of order %lu\n", sent, received, disorder);
	return sent != received || disorder;
}
