/* SPDX-License-Identifier: MIT */
/* Two vCPUs of one domain; on one pCPU the hypervisor has to switch between them. */
#include "roles/bench.h"
#include "rt/event.h"
#include "rt/role.h"
#include "rt/smp.h"
#include <stdatomic.h>

static _Atomic bool stop;
static volatile unsigned long turns;
static struct evtchn_send port[2];
static unsigned long turns_before, switched, asked;

static void peer_yields(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop)) {
		turns++;
		hc_sched(SCHEDOP_yield, NULL);
	}
}

static void yield_start(void)
{
	atomic_store(&stop, false);
	turns = switched = asked = 0;
	smp_call(1, peer_yields, NULL);
	while (!turns)
		hc_sched(SCHEDOP_yield, NULL);
}

static void yield_back(void)
{
	turns_before = turns;
	bench_rc |= BENCH_HC2(sched_op, SCHEDOP_yield, 0);
}

static void yield_count(void)
{
	asked++;
	switched += turns == turns_before + 1;
}

static void yield_end(void)
{
	atomic_store(&stop, true);
	smp_wait(1);
	/* The median has to be a switch there and one back. */
	CHECK(switched > asked / 2, "of %lu yields %lu went to the other vCPU and back", asked,
	      switched);
}

static void peer_answers(void *arg)
{
	(void)arg;
	events_mask();
	bench_upcall_use(port[1].port);
	turns++;
	for (;;) {
		bench_wait(1);
		if (atomic_load(&stop))
			break;
		BENCH_HC2(event_channel_op, EVTCHNOP_send, &port[0]);
	}
	bench_upcall_drop();
	events_unmask();
}

static void events_start(void)
{
	unsigned long spins = 0;

	if (!port[0].port)
		for (unsigned int i = 0; i < 2; i++) {
			long p = event_bind_ipi(i);

			CHECK(p > 0, "bind_ipi: %ld", p);
			port[i].port = (uint32_t)p;
			event_unmask(port[i].port);
		}
	atomic_store(&stop, false);
	turns = 0;
	smp_call(1, peer_answers, NULL);
	while (!turns)
		spin_wait(&spins);
	events_mask();
	bench_upcall_use(port[0].port);
}

static void round_trip(void)
{
	bench_rc |= BENCH_HC2(event_channel_op, EVTCHNOP_send, &port[1]);
	bench_wait(0);
}

static void events_end(void)
{
	atomic_store(&stop, true);
	bench_rc |= event_send(port[1].port);
	bench_upcall_drop();
	events_unmask();
	smp_wait(1);
}

const struct bench bench_vcpus[] = {
	{.name = "yield to another vCPU and back",
	 .start = yield_start,
	 .op = yield_back,
	 .undo = yield_count,
	 .end = yield_end},
	{.name = "event to another vCPU, blocked, and its answer",
	 .start = events_start,
	 .op = round_trip,
	 .end = events_end},
	{0},
};
