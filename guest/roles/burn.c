/* SPDX-License-Identifier: MIT */
/*
 * CPU burner: every vCPU spins for `secs` (0: for ever) of guest time and
 * tells its share, running time by elapsed time in parts per million.
 * With `from`, the measured time begins at that second of system time, which
 * all guests share, and `tail` keeps it spinning so long after its end: so
 * several burners are measured over the same time, all of them running.
 */
#include "roles/roles.h"
#include "rt/role.h"
#include "rt/smp.h"
#include "rt/time.h"
#include <stdatomic.h>

#define NS 1000000000ULL

static struct {
	uint64_t secs, every, start, tail;
	_Atomic uint64_t running, elapsed, work;
} burn;

static uint64_t spin(uint64_t x)
{
	for (int i = 0; i < 2000; i++)
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
	__asm__ volatile("" : "+r"(x));
	return x;
}

static uint64_t ppm(uint64_t part, uint64_t whole)
{
	/* Scaled down alike until the product fits 64 bits. */
	while (part >> 44) {
		part >>= 1;
		whole >>= 1;
	}
	return whole ? part * 1000000 / whole : 0;
}

static void burn_cpu(void *arg)
{
	uint64_t rs0[4], rs[4], t0, now, next, x = 1, work = 0;
	unsigned int id = this_cpu()->id;

	(void)arg;
	while (time_ns() < burn.start)
		x = spin(x);
	runstate_read(rs0);
	t0 = time_ns();
	next = t0 + burn.every * NS;
	do {
		x = spin(x);
		work++;
		now = time_ns();
		if (burn.every && now >= next) {
			runstate_read(rs);
			printf("mini: burn vcpu=%u t_ms=%lu share_ppm=%lu work=%lu\n", id,
			       (now - t0) / 1000000,
			       ppm(rs[RUNSTATE_running] - rs0[RUNSTATE_running], now - t0), work);
			next += burn.every * NS;
		}
	} while (!burn.secs || now < burn.start + burn.secs * NS);
	runstate_read(rs);
	now = time_ns();
	rs[RUNSTATE_running] -= rs0[RUNSTATE_running];
	printf("mini: burn vcpu=%u done elapsed_ns=%lu running_ns=%lu share_ppm=%lu work=%lu\n", id,
	       now - t0, rs[RUNSTATE_running], ppm(rs[RUNSTATE_running], now - t0), work);
	for (next = now + burn.tail; time_ns() < next;)
		x = spin(x);
	atomic_fetch_add(&burn.running, rs[RUNSTATE_running]);
	atomic_fetch_add(&burn.elapsed, now - t0);
	atomic_fetch_add(&burn.work, work);
}

void role_burn(void)
{
	burn.secs = arg_num("secs", 2);
	burn.every = arg_num("every", 0);
	burn.tail = arg_num("tail", 0) * NS;
	smp_up_all();
	burn.start = arg_num("from", 0) * NS;
	if (burn.start < time_ns())
		burn.start = time_ns();
	smp_call_all(burn_cpu, NULL);
	role_pass("vcpus=%u secs=%lu share_ppm=%lu work=%lu", nr_cpus, burn.secs,
		  ppm(burn.running, burn.elapsed), burn.work);
}
