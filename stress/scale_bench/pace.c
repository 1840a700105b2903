/* SPDX-License-Identifier: MIT */
/*
 * Two threads, each pinned to a core: operations per CPU second when one works alone and when both
 * do. Each round has one slice of either kind for each thread, so that whatever else the machine does
 * meets both alike; ./xylem bench scale takes the median of the rounds' ratios. A slice in which the
 * two did not in fact run at once is told by its overlap.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "percpu/tlb.h"
#include "stress/scale_bench/bench.h"

#define THREADS 2

static struct {
	enum layout layout;
	unsigned rounds;
	uint64_t slice_ns;
	const char *only;
	_Atomic bool ready[THREADS], domains, stop;
	/* The slice: its number, who works, until when. */
	_Atomic unsigned slice, done;
	unsigned who;
	uint64_t end;
	const struct scale_op *op;
} run;

static struct result {
	uint64_t units;
	double cpu_s, wall_s; /* of the counted phases; of the slice */
	double busy_s;	      /* CPU time of the slice */
} CACHE_ALIGNED result[THREADS];

static double clock_s(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double cpu_s(void)
{
	return clock_s(CLOCK_THREAD_CPUTIME_ID);
}

/* All phases counted: the clock is looked at around many units, else around each phase. */
static double some_units(const struct scale_op *op, struct seat *s, unsigned n)
{
	double t = cpu_s(), sum = 0;

	if (!op->phase[1].fn) {
		for (unsigned i = 0; i < n; i++)
			op->phase[0].fn(s);
		return cpu_s() - t;
	}
	if (op->per) { /* short: the guest's part is a few stores, and counts */
		for (unsigned i = 0; i < n; i++)
			for (const struct phase *ph = op->phase; ph->fn; ph++)
				ph->fn(s);
		return cpu_s() - t;
	}
	for (unsigned i = 0; i < n; i++)
		for (const struct phase *ph = op->phase; ph->fn; ph++) {
			t = cpu_s();
			ph->fn(s);
			if (ph->counted)
				sum += cpu_s() - t;
		}
	return sum;
}

/* Beside whatever else the machine does, both are to run at once; as far as we may have it. */
static void first_in_line(bool on)
{
	struct sched_param p = {.sched_priority = on};

	(void)!sched_setscheduler(0, on ? SCHED_RR : SCHED_OTHER, &p);
}

static void work(struct seat *s)
{
	struct result *r = &result[s->cpu];
	unsigned n = run.op->per ? 64 : 1;
	double wall, cpu;

	first_in_line(true);
	wall = clock_s(CLOCK_MONOTONIC);
	cpu = cpu_s();
	*r = (struct result){0};
	do {
		r->cpu_s += some_units(run.op, s, n);
		r->units += n;
		rcu_thread_online();
		world_look();
		rcu_thread_offline();
	} while (arch_now_ns() < run.end);
	r->busy_s = cpu_s() - cpu;
	r->wall_s = clock_s(CLOCK_MONOTONIC) - wall;
	first_in_line(false);
}

/* On pCPU 0: one slice of the threads in @who. */
static void slice(unsigned who)
{
	run.who = who;
	run.end = arch_now_ns() + run.slice_ns;
	atomic_store(&run.done, 0);
	atomic_fetch_add(&run.slice, 1);
	arch_kick(1);
	if (who & 1)
		work(seat_of(0));
	while (!atomic_load(&run.done)) {
		rcu_thread_online();
		world_look();
		rcu_thread_offline();
		arch_idle();
	}
}

static double rate(unsigned cpu)
{
	return (double)result[cpu].units * op_per(run.op) / result[cpu].cpu_s;
}

static void measure(const struct scale_op *op)
{
	run.op = op;
	slice(3); /* what is made at first use */
	for (unsigned r = 0; r < run.rounds; r++) {
		double alone[THREADS], both[THREADS], overlap = 1;

		slice(1);
		alone[0] = rate(0);
		slice(2);
		alone[1] = rate(1);
		slice(3);
		for (unsigned i = 0; i < THREADS; i++) {
			both[i] = rate(i);
			overlap = MIN(overlap, result[i].busy_s / result[i].wall_s);
		}
		printf("{\"op\":\"%s\",\"layout\":\"%s\",\"control\":%s,\"round\":%u,\"alone\":"
		       "[%.0f,%.0f],\"both\":[%.0f,%.0f],\"overlap\":%.3f}\n",
		       op->name, layout_name(run.layout), op->control ? "true" : "false", r,
		       alone[0], alone[1], both[0], both[1], overlap);
		fflush(stdout);
	}
}

static void lead(void)
{
	for (const struct scale_op *op = scale_ops; op->name; op++)
		if (op->layouts & run.layout && (!run.only || !strcmp(run.only, op->name)))
			measure(op);
	atomic_store(&run.stop, true);
	arch_kick(1);
}

static void follow(void)
{
	unsigned seen = 0;

	while (!atomic_load(&run.stop)) {
		unsigned now = atomic_load(&run.slice);

		if (now != seen) {
			seen = now;
			if (run.who & 2)
				work(seat_of(1));
			atomic_store(&run.done, 1);
			arch_kick(0);
			continue;
		}
		rcu_thread_online();
		world_look();
		rcu_thread_offline();
		arch_idle();
	}
}

static cpu_set_t all;

static void cores(void)
{
	if (sched_getaffinity(0, sizeof(all), &all) || CPU_COUNT(&all) < THREADS)
		die("this needs two cores");
}

/* Its own core. */
static void pin(unsigned n)
{
	cpu_set_t one;

	for (int c = 0; c < CPU_SETSIZE; c++) {
		if (!CPU_ISSET(c, &all) || n--)
			continue;
		CPU_ZERO(&one);
		CPU_SET(c, &one);
		sched_setaffinity(0, sizeof(one), &one);
		return;
	}
}

static void pcpu_main(void *arg)
{
	struct pcpu *p = this_pcpu();

	(void)arg;
	pin(p->id);
	if (p->id == 0) {
		world_domains(run.layout);
		atomic_store(&run.domains, true);
	}
	while (!atomic_load(&run.domains) || !p->current) {
		p->work |= WORK_RESCHED;
		world_leave();
		rcu_quiescent_state();
		cpu_relax();
	}
	world_seat();
	atomic_store(&run.ready[p->id], true);
	while (!atomic_load(&run.ready[0]) || !atomic_load(&run.ready[1])) {
		world_leave();
		rcu_quiescent_state();
		cpu_relax();
	}
	rcu_thread_offline();
	if (p->id == 0)
		lead();
	else
		follow();
	rcu_thread_online();
}

void pace_run(enum layout layout, unsigned rounds, unsigned ms, const char *only)
{
	cores();
	run.layout = layout;
	run.rounds = rounds;
	run.slice_ns = ms * NS_PER_MS;
	run.only = only;
	world_machine(THREADS);
	host_rcu_select(HOST_RCU_QSBR);
	host_clock_virtual(false);
	host_threads_start(THREADS, pcpu_main, NULL);
	host_threads_join();
	world_done();
}

/* ---- one line between two cores -------------------------------------------------------------- */

static _Atomic uint64_t ball CACHE_ALIGNED;

#define PASSES 20000u

static void *other_side(void *arg)
{
	unsigned rounds = *(unsigned *)arg;

	pin(1);
	first_in_line(true);
	for (uint64_t i = 1; i < 2ULL * PASSES * rounds; i += 2) {
		while (atomic_load_explicit(&ball, memory_order_acquire) != i)
			__builtin_ia32_pause();
		atomic_store_explicit(&ball, i + 1, memory_order_release);
	}
	return NULL;
}

void pace_transfer(unsigned rounds)
{
	pthread_t th;
	uint64_t i = 0;

	cores();
	pin(0);
	if (pthread_create(&th, NULL, other_side, &rounds))
		die("cannot start a thread");
	first_in_line(true);
	for (unsigned r = 0; r < rounds; r++) {
		double t = clock_s(CLOCK_MONOTONIC);

		for (unsigned k = 0; k < PASSES; k++) {
			atomic_store_explicit(&ball, ++i, memory_order_release);
			i++;
			while (atomic_load_explicit(&ball, memory_order_acquire) != i)
				__builtin_ia32_pause();
		}
		printf("{\"transfer_ns\":%.1f}\n",
		       (clock_s(CLOCK_MONOTONIC) - t) * 1e9 / (2.0 * PASSES));
		fflush(stdout);
	}
	pthread_join(th, NULL);
}
