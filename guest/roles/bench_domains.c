/* SPDX-License-Identifier: MIT */
/* Two domains and an event channel between them. */
#include "roles/bench.h"
#include "rt/cpu.h"
#include "rt/event.h"
#include "rt/role.h"

#define PORTS 64 /* the other side's port is one of the first */

static struct evtchn_send port;

static void round_trip(void)
{
	bench_rc |= BENCH_HC2(event_channel_op, EVTCHNOP_send, &port);
	bench_wait(0);
}

static void use(long p)
{
	CHECK(p > 0, "event channel between domains: %ld", p);
	port.port = (uint32_t)p;
	events_mask();
	bench_upcall_use(port.port);
	event_unmask(port.port);
}

/* The port that the other domain keeps for this one, as soon as it does. */
static long find(domid_t peer)
{
	for (;;) {
		for (uint32_t p = 1; p < PORTS; p++) {
			long own = event_bind_interdomain(peer, p);

			if (own > 0) {
				/* Binding has raised it once, as the ABI says. */
				event_clear((uint32_t)own);
				return own;
			}
		}
		hc_sched(SCHEDOP_yield, NULL);
	}
}

void bench_domains_side(unsigned long n)
{
	domid_t peer = (domid_t)arg_num("peer", 0);

	if (!strcmp(arg_str("side", ""), "a")) {
		use(event_alloc_unbound(peer));
		bench_wait(0); /* b is there */
		return;
	}
	use(find(peer));
	bench_rc |= event_send(port.port);
	while (n--) {
		bench_wait(0);
		bench_rc |= BENCH_HC2(event_channel_op, EVTCHNOP_send, &port);
	}
	CHECK(!bench_rc, "sending failed: %ld", bench_rc);
	bench_upcall_drop();
	role_pass("answered");
}

static void end(void)
{
	bench_upcall_drop();
	events_unmask();
}

const struct bench bench_domains[] = {
	{.name = "event to another domain, blocked, and its answer", .op = round_trip, .end = end},
	{0},
};
