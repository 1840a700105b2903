/* SPDX-License-Identifier: MIT */
/*
 * rcu [own|urcu [CPUS [SECONDS]]]: one updater replaces and frees an object, all others read it.
 * Prints reads and updates per second and the time from call_rcu() to the callback. Exits 1 when
 * a reader saw a freed object or a callback got lost.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/host/host.h"

#define OBJECTS 4096
#define ALIVE 0x600df00du

struct object {
	struct rcu_head rcu;
	_Atomic uint32_t state;
	uint64_t called_ns;
	struct object *next_free;
};

static struct object pool[OBJECTS];
static struct object *free_list; /* updater only */
static struct object *shared;
static _Atomic uint64_t reads, hurt;
static uint64_t updates, invoked, starved, latency_ns;
static uint64_t end_ns;
static _Atomic bool stop;

static void reclaim(struct rcu_head *head)
{
	struct object *o = container_of(head, struct object, rcu);

	atomic_store_explicit(&o->state, 0, memory_order_relaxed);
	latency_ns += arch_now_ns() - o->called_ns;
	invoked++;
	o->next_free = free_list;
	free_list = o;
}

static void update(void)
{
	struct object *n = free_list, *old = shared;

	if (!n) {
		starved++;
		return;
	}
	free_list = n->next_free;
	atomic_store_explicit(&n->state, ALIVE, memory_order_relaxed);
	rcu_assign_pointer(shared, n);
	old->called_ns = arch_now_ns();
	call_rcu(&old->rcu, reclaim);
	updates++;
}

static void updater(void)
{
	while (arch_now_ns() < end_ns) {
		update();
		host_service();
	}
	atomic_store(&stop, true);
	while (rcu_pending())
		host_service();
}

static void reader(void)
{
	uint64_t n = 0, bad = 0;

	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		for (unsigned i = 0; i < 64; i++) {
			struct object *o;

			rcu_read_lock();
			o = rcu_dereference(shared);
			bad += atomic_load_explicit(&o->state, memory_order_relaxed) != ALIVE;
			rcu_read_unlock();
			n++;
		}
		rcu_quiescent_state();
	}
	atomic_fetch_add(&reads, n);
	atomic_fetch_add(&hurt, bad);
}

static void run(void *arg)
{
	(void)arg;
	if (this_pcpu()->id == 0)
		updater();
	else
		reader();
}

int main(int argc, char **argv)
{
	const char *which = argc > 1 ? argv[1] : "own";
	unsigned cpus = argc > 2 ? (unsigned)atoi(argv[2]) : 4;
	double seconds = argc > 3 ? atof(argv[3]) : 2;

	if ((strcmp(which, "own") != 0 && strcmp(which, "urcu") != 0) || cpus < 2 ||
	    cpus > MAX_PCPUS || seconds <= 0) {
		fprintf(stderr, "usage: rcu [own|urcu [CPUS [SECONDS]]]\n");
		return 2;
	}
	host_rcu_select(strcmp(which, "own") ? HOST_RCU_URCU : HOST_RCU_QSBR);
	for (unsigned i = 1; i < OBJECTS; i++) {
		pool[i].next_free = free_list;
		free_list = &pool[i];
	}
	atomic_store(&pool[0].state, ALIVE);
	shared = &pool[0];
	end_ns = arch_now_ns() + (uint64_t)(seconds * 1e9);
	host_threads_start(cpus, run, NULL);
	host_threads_join();
	printf("%s, %u pcpus: %.0f reads/s, %.0f updates/s, %.1f us to the callback\n", which, cpus,
	       (double)atomic_load(&reads) / seconds, (double)updates / seconds,
	       invoked ? (double)latency_ns / (double)invoked / 1000 : 0.0);
	printf("reads of freed objects %lu, callbacks %lu of %lu, updater without objects %lu\n",
	       atomic_load(&hurt), invoked, updates, starved);
	return atomic_load(&hurt) || invoked != updates;
}
