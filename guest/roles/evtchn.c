/* SPDX-License-Identifier: MIT */
/* Event channels of every kind, over the 2-level or (evtchn=fifo) the FIFO ABI. */
#include "roles/roles.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include "rt/mem.h"
#include "rt/role.h"
#include "rt/smp.h"
#include "rt/time.h"
#include <stdatomic.h>

static _Atomic unsigned int got[MAX_PORTS];
static _Atomic unsigned int last_cpu;
static uint32_t order[64];
static unsigned int ordered;

static void on_event(uint32_t port, void *arg)
{
	(void)arg;
	atomic_store(&last_cpu, this_cpu()->id);
	atomic_fetch_add(&got[port], 1); /* who waits for it looks at last_cpu then */
	if (ordered < ARRAY_LEN(order))
		order[ordered++] = port;
}

static uint32_t use(long port, const char *what)
{
	CHECK(port > 0 && port < MAX_PORTS, "%s: %ld", what, port);
	got[port] = 0;
	event_handle((uint32_t)port, on_event, NULL);
	return (uint32_t)port;
}

static uint32_t status_of(uint32_t port, struct evtchn_status *s)
{
	s->dom = DOMID_SELF;
	s->port = port;
	CHECK_EQ(hc_evtchn(EVTCHNOP_status, s), 0, "status");
	return s->status;
}

static void expect_one(uint32_t sender, uint32_t receiver, const char *what)
{
	unsigned int before = got[receiver];

	CHECK_EQ(event_send(sender), 0, what);
	CHECK_EQ(got[receiver], before + 1, what);
	CHECK(!event_pending(receiver), "%s: still pending after the handler", what);
}

static void test_interdomain(void)
{
	struct evtchn_status s;
	uint32_t a = use(event_alloc_unbound(DOMID_SELF), "alloc_unbound"), b;

	CHECK_EQ(status_of(a, &s), EVTCHNSTAT_unbound, "status of an unbound port");
	CHECK_EQ(event_send(a), 0, "send on an unbound port is ignored");
	b = use(event_bind_interdomain(DOMID_SELF, a), "bind_interdomain");
	CHECK_EQ(status_of(a, &s), EVTCHNSTAT_interdomain, "status of a bound port");
	CHECK_EQ(s.u.interdomain.port, b, "status' remote port");
	CHECK_EQ(s.vcpu, 0, "status' vcpu");
	/* Binding leaves the new end pending, so that no edge before it is lost. */
	event_unmask(a);
	event_unmask(b);
	got[a] = got[b] = 0;
	expect_one(a, b, "a to b");
	expect_one(b, a, "b to a");
	CHECK_EQ(event_bind_interdomain(DOMID_SELF, a), -XEN_EINVAL, "bind to a bound port");
	CHECK_EQ(event_close(a), 0, "close");
	CHECK_EQ(status_of(b, &s), EVTCHNSTAT_unbound, "status after the peer closed");
	CHECK_EQ(status_of(a, &s), EVTCHNSTAT_closed, "status of a closed port");
	CHECK_EQ(event_close(b), 0, "close");
	printf("mini: evtchn interdomain ok\n");
}

static void test_mask(void)
{
	uint32_t p = use(event_bind_ipi(0), "bind_ipi");
	struct evtchn_status s;

	CHECK_EQ(status_of(p, &s), EVTCHNSTAT_ipi, "status of an IPI port");
	event_unmask(p);
	expect_one(p, p, "IPI to self");
	event_mask(p);
	CHECK_EQ(event_send(p), 0, "send masked");
	CHECK_EQ(event_send(p), 0, "send masked again");
	CHECK(event_pending(p) && event_masked(p) && got[p] == 1, "masked send was delivered");
	CHECK_EQ(event_unmask(p), 0, "unmask");
	CHECK_EQ(got[p], 2, "unmask delivers the pending event once");
	CHECK(!event_masked(p), "unmask");

	/* Upcalls off: nothing until they are on again, then one call for many sends. */
	events_mask();
	for (int i = 0; i < 100; i++)
		CHECK_EQ(event_send(p), 0, "send");
	CHECK_EQ(got[p], 2, "upcall while masked");
	events_unmask();
	CHECK_EQ(got[p], 3, "upcall after unmasking");

	events_mask();
	event_send(p);
	event_clear(p);
	events_unmask();
	CHECK_EQ(got[p], 3, "a cleared event was delivered");
	/* The word may still be queued: later sends must get through. */
	expect_one(p, p, "send after clear");
	CHECK_EQ(event_close(p), 0, "close");
	printf("mini: evtchn mask ok\n");
}

static void test_virq(void)
{
	struct evtchn_status s;
	long rc = event_bind_virq(VIRQ_DEBUG, 0);
	uint32_t p = use(rc, "bind_virq");

	CHECK_EQ(status_of(p, &s), EVTCHNSTAT_virq, "status of a VIRQ port");
	CHECK_EQ(s.u.virq, VIRQ_DEBUG, "status' virq");
	CHECK_EQ(event_bind_virq(VIRQ_DEBUG, 0), -XEN_EEXIST, "bind_virq twice");
	CHECK_EQ(event_bind_virq(VIRQ_TIMER, 0), -XEN_EEXIST, "bind VIRQ_TIMER twice");
	CHECK_EQ(event_bind_virq(NR_VIRQS, 0), -XEN_EINVAL, "bind_virq unknown");
	CHECK_EQ(event_bind_virq(VIRQ_DEBUG, nr_cpus + 100), -XEN_ENOENT, "bind_virq no vcpu");
	CHECK_EQ(event_send(p), -XEN_EINVAL, "send on a VIRQ port");
	CHECK_EQ(event_bind_vcpu(p, 0), -XEN_EINVAL, "move a per-vcpu VIRQ");
	CHECK_EQ(event_close(p), 0, "close");
	printf("mini: evtchn virq ok\n");
}

static void test_errors(void)
{
	static const uint32_t bad[] = {0, 3000, 4095, 4096, 131071, 131072, 0x7fffffff, ~0u};
	struct evtchn_status s = {.dom = DOMID_SELF};
	struct evtchn_init_control ic = {.control_gfn = 1, .offset = 4, .vcpu = 0};
	struct evtchn_unmask u;

	for (unsigned int i = 0; i < ARRAY_LEN(bad); i++) {
		uint32_t p = bad[i];

		u.port = p;
		s.port = p;
		CHECK_EQ(event_send(p), -XEN_EINVAL, "send on a bad port");
		CHECK_EQ(event_close(p), -XEN_EINVAL, "close of a bad port");
		CHECK(event_bind_vcpu(p, 0) == -XEN_EINVAL, "bind_vcpu of port %u", p);
		CHECK_EQ(event_bind_interdomain(DOMID_SELF, p), -XEN_EINVAL, "bind to a bad port");
		if (p >= EVTCHN_FIFO_NR_CHANNELS) {
			CHECK_EQ(hc_evtchn(EVTCHNOP_unmask, &u), -XEN_EINVAL, "unmask bad");
			CHECK_EQ(hc_evtchn(EVTCHNOP_status, &s), -XEN_EINVAL, "status bad");
		}
	}
	CHECK_EQ(event_bind_ipi(nr_cpus + 100), -XEN_ENOENT, "bind_ipi no vcpu");
	CHECK_EQ(event_bind_interdomain(0x7000, 1), -XEN_ESRCH, "bind to no domain");
	CHECK_EQ(hc_evtchn(99, &s), -XEN_ENOSYS, "unknown operation");
	CHECK_EQ(hc_evtchn(EVTCHNOP_send, (void *)8), -XEN_EFAULT, "bad pointer");
	CHECK_EQ(hc_evtchn(EVTCHNOP_init_control, &ic), -XEN_EINVAL, "init_control bad offset");
	ic.offset = 0;
	ic.vcpu = nr_cpus + 100;
	CHECK_EQ(hc_evtchn(EVTCHNOP_init_control, &ic), -XEN_ENOENT, "init_control no vcpu");
	if (!events_fifo) {
		struct evtchn_expand_array e = {.array_gfn = 1};

		CHECK(hc_evtchn(EVTCHNOP_expand_array, &e) < 0, "expand_array without FIFO");
		CHECK_EQ(event_set_priority(this_cpu()->timer_port, 3), -XEN_ENOSYS,
			 "priority without FIFO");
	}
	printf("mini: evtchn errors ok\n");
}

static void test_move(void)
{
	uint32_t a = use(event_alloc_unbound(DOMID_SELF), "alloc_unbound");
	uint32_t b = use(event_bind_interdomain(DOMID_SELF, a), "bind_interdomain");
	struct evtchn_status s;
	unsigned long spins = 0;

	CHECK_EQ(event_bind_vcpu(b, nr_cpus + 100), -XEN_ENOENT, "bind_vcpu no vcpu");
	event_clear(b);
	event_unmask(b);
	for (unsigned int i = 0; i < 3 * nr_cpus; i++) {
		unsigned int cpu = (i + 1) % nr_cpus;

		CHECK_EQ(event_bind_vcpu(b, cpu), 0, "bind_vcpu");
		status_of(b, &s);
		CHECK_EQ(s.vcpu, cpu, "vcpu after bind_vcpu");
		got[b] = 0;
		CHECK_EQ(event_send(a), 0, "send");
		while (!got[b])
			spin_wait(&spins);
		/* A FIFO event may find itself on the old queue once, never on a third vcpu. */
		CHECK(last_cpu == cpu || (events_fifo && last_cpu == i % nr_cpus),
		      "bound to vcpu %u, came to %u", cpu, last_cpu);
	}
	event_close(a);
	event_close(b);
	printf("mini: evtchn move ok\n");
}

static void test_priority(void)
{
	uint32_t p[16];
	unsigned int n = 0;

	CHECK_EQ(event_set_priority(this_cpu()->timer_port, 16), -XEN_EINVAL, "priority 16");
	for (unsigned int i = 0; i < 16; i++) {
		p[i] = use(event_bind_ipi(0), "bind_ipi");
		/* Two ports each on eight priorities, not in order of ports. */
		CHECK_EQ(event_set_priority(p[i], (i * 5 % 8) * 2), 0, "set_priority");
		event_unmask(p[i]);
	}
	for (int round = 0; round < 3; round++) {
		events_mask();
		ordered = 0;
		for (unsigned int i = 0; i < 16; i++)
			CHECK_EQ(event_send(p[i]), 0, "send");
		events_unmask();
		n = 0;
		for (unsigned int i = 0; i < 16; i++) {
			unsigned int a, b;

			CHECK(ordered == 16, "%u of 16 events came", ordered);
			for (a = 0; a < 16 && p[a] != order[i]; a++)
				;
			b = (a * 5 % 8) * 2;
			CHECK(b >= n, "priority %u after %u", b, n);
			/* Within one priority first come, first served: the ninth is later. */
			CHECK(i == 0 || b > n || a >= 8, "order within priority %u", b);
			n = b;
		}
	}
	for (unsigned int i = 0; i < 16; i++)
		CHECK_EQ(event_close(p[i]), 0, "close");
	printf("mini: evtchn priority ok\n");
}

static void test_many(unsigned int limit)
{
	uint32_t *port = pages_alloc(limit * 4 / PAGE_SIZE + 1);
	unsigned int n;
	long rc = 0;

	for (n = 0; n < limit; n++) {
		rc = event_bind_ipi(0);
		if (rc < 0)
			break;
		port[n] = use(rc, "bind_ipi");
		event_unmask(port[n]);
	}
	CHECK(n == limit || rc == -XEN_ENOSPC, "after %u ports: %ld", n, rc);
	for (unsigned int round = 0; round < 2; round++)
		for (unsigned int i = 0; i < n; i++)
			expect_one(port[i * 7 % n], port[i * 7 % n], "one of many");
	for (unsigned int i = 0; i < n; i++)
		CHECK_EQ(event_close(port[i]), 0, "close");
	printf("mini: evtchn many ok ports=%u\n", n);
}

static uint32_t flood_port;
static _Atomic unsigned long sent;

static void flood(void *arg)
{
	for (unsigned long i = 0; i < (unsigned long)arg; i++)
		CHECK_EQ(event_send(flood_port), 0, "flood");
	atomic_fetch_add(&sent, (unsigned long)arg);
}

static void test_flood(unsigned long n)
{
	unsigned int before;

	flood_port = use(event_bind_ipi(0), "bind_ipi");
	event_unmask(flood_port);
	smp_call_all(flood, (void *)n);
	before = got[flood_port];
	CHECK(before >= 1 && before <= sent, "%u events of %lu sends", before, sent);
	/* None may be stuck after the flood. */
	expect_one(flood_port, flood_port, "send after the flood");
	event_close(flood_port);
	printf("mini: evtchn flood ok sent=%lu delivered=%u\n", sent, before);
}

void role_evtchn(void)
{
	smp_up_all();
	test_interdomain();
	test_mask();
	test_virq();
	test_errors();
	test_move();
	if (events_fifo)
		test_priority();
	test_many((unsigned int)arg_num("ports", 900));
	test_flood(arg_num("flood", 3000));
	role_pass("abi=%s vcpus=%u", events_fifo ? "fifo" : "2l", nr_cpus);
}
