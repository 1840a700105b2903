/* SPDX-License-Identifier: MIT */
/* Ending a role, and random numbers. */
#include "rt/role.h"
#include "rt/cpu.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include <stdarg.h>
#include <stdatomic.h>

const char *role_name = "none";
static uint64_t rnd_state[MAX_VCPUS];
#define RND_STEP 0x9e3779b97f4a7c15ULL

void role_shutdown(unsigned int reason)
{
	struct sched_shutdown s = {.reason = reason};

	console_drain();
	for (;;)
		hc_sched(SCHEDOP_shutdown, &s);
}

/* The first of several vCPUs to end the role has the last word. */
static void only_once(void)
{
	static atomic_flag ended = ATOMIC_FLAG_INIT;

	while (atomic_flag_test_and_set(&ended))
		hc_sched(SCHEDOP_yield, NULL);
}

static void finish(const char *verdict, const char *fmt, va_list ap)
{
	char buf[300];

	events_mask();
	only_once();
	vsnprintf(buf, sizeof(buf), fmt, ap);
	printf("mini: %s role=%s %s\n", verdict, role_name, buf);
}

void role_pass(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	finish("PASS", fmt, ap);
	va_end(ap);
	role_shutdown(SHUTDOWN_poweroff);
}

void role_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	finish("FAIL", fmt, ap);
	va_end(ap);
	role_shutdown(SHUTDOWN_crash);
}

uint64_t rnd_init(void)
{
	uint64_t seed = arg_num("seed", rdtsc());

	for (uint64_t i = 0; i < MAX_VCPUS; i++)
		rnd_state[i] = i ? mix64(seed + i) : seed;
	printf("mini: seed=%lu\n", seed);
	return seed;
}

/* splitmix64: any seed is good. Each vCPU has numbers of its own, whatever the others do. */
uint64_t rnd(void)
{
	return mix64(rnd_state[this_cpu()->id] += RND_STEP);
}

void rnd_set(uint64_t state)
{
	rnd_state[this_cpu()->id] = state;
}
