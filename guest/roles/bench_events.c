/* SPDX-License-Identifier: MIT */
/* Event channels of one vCPU: an IPI to itself, and a channel with both ends in the domain. */
#include "roles/bench.h"
#include "rt/event.h"
#include "rt/role.h"

static struct evtchn_send ipi, loop;
static uint32_t loop_end;

static void ipi_start(void)
{
	long port = event_bind_ipi(0);

	CHECK(port > 0, "bind_ipi: %ld", port);
	ipi.port = (uint32_t)port;
}

static void ipi_open(void)
{
	ipi_start();
	event_unmask(ipi.port);
}

static void send(void)
{
	bench_rc |= BENCH_HC2(event_channel_op, EVTCHNOP_send, &ipi);
}

static void clear(void)
{
	event_clear(ipi.port);
}

/* Upcalls are off, so that the event stays where it was put. */
static void pending_start(void)
{
	events_mask();
	ipi_open();
	bench_rc |= event_send(ipi.port);
}

static void ipi_end(void)
{
	event_mask(ipi.port);
	event_clear(ipi.port);
	bench_rc |= event_close(ipi.port);
	events_unmask();
}

static void handled_start(void)
{
	ipi_open();
	bench_upcall_use(ipi.port);
}

static void send_handled(void)
{
	bench_handled[0] = 0;
	send();
	bench_rc |= !bench_handled[0];
}

static void handled_end(void)
{
	bench_upcall_drop();
	ipi_end();
}

static void fresh_start(void)
{
	events_mask();
	ipi_open();
}

static void fresh_clear(void)
{
	struct vcpu_info *vi = this_cpu()->vi;

	event_clear(ipi.port);
	vi->evtchn_pending_sel = 0;
	vi->evtchn_upcall_pending = 0;
}

static struct evtchn_unmask unmask_arg;

static void unmask_start(void)
{
	ipi_open();
	unmask_arg.port = ipi.port;
}

static void unmask(void)
{
	bench_rc |= BENCH_HC2(event_channel_op, EVTCHNOP_unmask, &unmask_arg);
}

static void loop_start(void)
{
	long a = event_alloc_unbound(DOMID_SELF), b;

	CHECK(a > 0, "alloc_unbound: %ld", a);
	b = event_bind_interdomain(DOMID_SELF, (uint32_t)a);
	CHECK(b > 0, "bind_interdomain: %ld", b);
	loop.port = (uint32_t)b;
	loop_end = (uint32_t)a;
	event_unmask(loop_end);
	bench_upcall_use(loop_end);
}

static void loop_send(void)
{
	bench_handled[0] = 0;
	bench_rc |= BENCH_HC2(event_channel_op, EVTCHNOP_send, &loop);
	bench_rc |= !bench_handled[0];
}

static void loop_close(void)
{
	bench_upcall_drop();
	event_mask(loop_end);
	bench_rc |= event_close(loop.port);
	bench_rc |= event_close(loop_end);
}

const struct bench bench_events[] = {
	{.name = "event send, port masked",
	 .start = ipi_start,
	 .op = send,
	 .undo = clear,
	 .end = ipi_end},
	{.name = "event send, pending already", .start = pending_start, .op = send, .end = ipi_end},
	{.name = "event send, upcalls masked",
	 .start = fresh_start,
	 .op = send,
	 .undo = fresh_clear,
	 .end = ipi_end},
	{.name = "event send to itself and handled",
	 .start = handled_start,
	 .op = send_handled,
	 .end = handled_end},
	{.name = "event channel unmask", .start = unmask_start, .op = unmask, .end = ipi_end},
	{.name = "event send over a loop and handled",
	 .start = loop_start,
	 .op = loop_send,
	 .end = loop_close},
	{0},
};
