/* SPDX-License-Identifier: MIT */
/* core/console.c: who drains a guest's ring while others notify; input read by several vCPUs. */
#include <string.h>

#include "core/vcpu_timer.h"
#include "stress/litmus/tests/world.h"

static struct domain *d;
static struct xencons_interface *ring;
static evtchn_port_t port;

static void setup(void)
{
	world_memory(3);
	d = world_domain("a", 1, 8);
	ring = arch_mfn_to_virt(mm_gfn_to_mfn(&d->mm, GFN(3)));
	if (console_set_ring(d, ring, &port))
		litmus_fail("no console");
	world_settle();
}

/* ---- output ---- */

static _Atomic uint32_t written;

/* Two vCPUs of the guest, which has a lock of its own for the ring; here they take turns. */
static void thread_out(unsigned me)
{
	while (atomic_load_explicit(&written, memory_order_acquire) != me)
		cpu_relax();
	ring->out[me] = (char)('a' + me);
	__atomic_store_n(&ring->out_prod, me + 1, __ATOMIC_RELEASE);
	atomic_store_explicit(&written, me + 1, memory_order_release);
	LITMUS_ASSERT(!evtchn_send(d, port));
}

static void check_out(void)
{
	LITMUS_ASSERT(d->con.bytes_out == 2);
	LITMUS_ASSERT(!memcmp(d->con.line.text, "ab", 2));
}

LITMUS(output, "console_out", "what was notified is drained", 2, 3, setup, thread_out, check_out);

/* ---- input ---- */

static char got[3][4];
static long n[3];

static void setup_in(void)
{
	setup();
	atomic_store(&d->con.ring, NULL);
	/* The buffer is nearly full, so that room is used again. */
	for (unsigned i = 0; i < CONSOLE_INPUT - 1; i++)
		console_input(d, "x", 1);
	for (unsigned i = 0; i < CONSOLE_INPUT - 2; i++)
		console_io_read(d, (uint64_t)got, 1);
}

static void thread_in(unsigned me)
{
	if (me == 0) {
		LITMUS_ASSERT(console_input(d, "a", 1) == 1);
		LITMUS_ASSERT(console_input(d, "b", 1) == 1);
		return;
	}
	n[me] = console_io_read(d, (uint64_t)got[me], 2);
	LITMUS_ASSERT(n[me] >= 0);
}

static void check_in(void)
{
	char all[8] = "";
	unsigned len = 0;
	bool swap = n[1] && n[2] && got[2][0] == 'x';

	for (unsigned i = 1; i < 3; i++) {
		unsigned t = swap ? 3 - i : i;

		memcpy(all + len, got[t], (size_t)n[t]);
		len += (unsigned)n[t];
	}
	LITMUS_ASSERT(len <= 3 && !memcmp(all, "xab", len));
}

LITMUS(input, "console_in", "each byte is read once, in order", 3, 2, setup_in, thread_in,
       check_in);

/* ---- messages that carry the newest state ---- */

static struct vcpu *v;

static void setup_period(void)
{
	world_memory(3);
	d = world_domain("b", 1, 8);
	world_settle();
	v = d->vcpu[0];
	atomic_store(&v->starting, VS_STARTED);
	atomic_store(&v->unit.home, 2);
}

static void thread_period(unsigned me)
{
	if (me < 2) {
		vcpu_timer_set_period(v, NS_PER_MS * (1 + me));
		return;
	}
	/* Its home, until the newest period is set. */
	while (v->periodic.expires_ns !=
	       atomic_load_explicit(&v->periodic_ns, memory_order_relaxed)) {
		if (!inbox_pending(&this_pcpu()->inbox))
			litmus_idle();
		inbox_drain();
	}
}

static void check_period(void)
{
	host_become(2);
	inbox_drain();
	host_become(0);
	LITMUS_ASSERT(v->periodic.expires_ns == atomic_load(&v->periodic_ns));
}

LITMUS(period, "ctl_msg", "the newest period is set", 3, 2, setup_period, thread_period,
       check_period);

static void setup_watchdog(void)
{
	setup_period();
	d->home_cpu = 2;
}

static void thread_watchdog(unsigned me)
{
	if (me < 2) {
		atomic_store(&d->watchdog_ns[me], NS_PER_MS * (2 - me));
		domain_watchdog_changed(d);
		return;
	}
	while (d->watchdog_timer.expires_ns != NS_PER_MS) {
		if (!inbox_pending(&this_pcpu()->inbox))
			litmus_idle();
		inbox_drain();
	}
}

LITMUS(watchdog, "watchdog_msg", "the newest expiry is set", 3, 2, setup_watchdog, thread_watchdog,
       NULL);
