/* SPDX-License-Identifier: MIT */
/* Timers and clocks: what fires, never early, never more often than asked. */
#include "roles/roles.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include "rt/mem.h"
#include "rt/role.h"
#include "rt/smp.h"
#include "rt/time.h"
#include <stdatomic.h>

#define MS 1000000UL

static unsigned long fired(void)
{
	return atomic_load(&this_cpu()->timer_count);
}

/* Block until the timer fired `n` times in all; a lost timer is a hang. */
static void wait_fired(unsigned long n)
{
	events_mask();
	while (fired() < n) {
		block();
		events_mask();
	}
	events_unmask();
}

static void busy_until(uint64_t t)
{
	while (time_ns() < t)
		cpu_relax();
}

static void test_singleshot(void)
{
	for (unsigned int i = 0; i < 20; i++) {
		unsigned long n = fired();
		uint64_t at = time_ns() + (i % 5 + 1) * MS / 2;

		CHECK_EQ(timer_arm(at, i & 1 ? VCPU_SSHOTTMR_future : 0), 0, "arm");
		wait_fired(n + 1);
		CHECK(time_ns() >= at, "singleshot early");
		CHECK_EQ(fired(), n + 1, "singleshot count");
	}
	printf("mini: timer singleshot ok\n");
}

static void test_past(void)
{
	unsigned long n = fired();
	long rc = timer_arm(time_ns() - MS, VCPU_SSHOTTMR_future);

	/* The ABI lets the hypervisor ignore the flag; then it must fire. */
	CHECK(rc == -XEN_ETIME || rc == 0, "past timeout: %ld", rc);
	if (!rc)
		wait_fired(++n);
	CHECK_EQ(timer_arm(time_ns() - MS, 0), 0, "past without flag");
	wait_fired(n + 1);
	printf("mini: timer past ok future_flag=%s\n", rc ? "ETIME" : "ignored");
}

static void test_stop(void)
{
	unsigned long n;
	uint64_t t;

	t = time_ns() + 5 * MS;
	CHECK_EQ(timer_arm(t, 0), 0, "arm");
	CHECK_EQ(hc_vcpu(VCPUOP_stop_singleshot_timer, 0, NULL), 0, "stop");
	n = fired();
	busy_until(t + 5 * MS);
	CHECK_EQ(fired(), n, "stopped singleshot fired");
	t = time_ns() + 5 * MS;
	CHECK_EQ(HC1(set_timer_op, t), 0, "set_timer_op");
	CHECK_EQ(HC1(set_timer_op, 0), 0, "set_timer_op(0)");
	busy_until(t + 5 * MS);
	CHECK_EQ(fired(), n, "stopped set_timer_op fired");
	printf("mini: timer stop ok\n");
}

static void test_set_timer_op(void)
{
	for (int i = 0; i < 10; i++) {
		unsigned long n = fired();
		uint64_t at = time_ns() + MS;

		CHECK_EQ(HC1(set_timer_op, at), 0, "set_timer_op");
		if (i & 1)
			busy_until(at);
		wait_fired(n + 1);
		CHECK(time_ns() >= at, "set_timer_op early");
	}
	printf("mini: timer set_timer_op ok\n");
}

static void periodic_on(void *arg)
{
	struct vcpu_set_periodic_timer p = {.period_ns = 4 * MS};
	unsigned int id = this_cpu()->id;
	unsigned long n;
	uint64_t t0;

	(void)arg;
	n = fired();
	t0 = time_ns();
	CHECK_EQ(hc_vcpu(VCPUOP_set_periodic_timer, id, &p), 0, "set_periodic");
	/* Xen ticks only while the vCPU runs, so do not block for it. */
	while (fired() < n + 20)
		cpu_relax();
	CHECK_EQ(hc_vcpu(VCPUOP_stop_periodic_timer, id, NULL), 0, "stop_periodic");
	CHECK(fired() - n <= (time_ns() - t0) / p.period_ns + 4, "periodic fired %lu times in %lu",
	      fired() - n, time_ns() - t0);
	n = fired();
	busy_until(time_ns() + 10 * MS);
	CHECK(fired() <= n + 1, "stopped periodic fired %lu times", fired() - n);
}

static void test_errors(void)
{
	struct vcpu_set_periodic_timer p = {.period_ns = 1000};
	struct vcpu_set_singleshot_timer s = {.timeout_abs_ns = ~0ULL >> 2};

	CHECK_EQ(hc_vcpu(VCPUOP_set_periodic_timer, 0, &p), -XEN_EINVAL, "1 us period");
	CHECK_EQ(hc_vcpu(VCPUOP_set_periodic_timer, 0, (void *)8), -XEN_EFAULT, "bad pointer");
	CHECK_EQ(hc_vcpu(VCPUOP_set_singleshot_timer, nr_cpus + 50, &s), -XEN_ENOENT, "no vcpu");
	if (nr_cpus > 1)
		CHECK_EQ(hc_vcpu(VCPUOP_set_singleshot_timer, 1, &s), -XEN_EINVAL, "other vcpu");
	CHECK_EQ(hc_vcpu(77, 0, &s), -XEN_ENOSYS, "unknown op");
	printf("mini: timer errors ok\n");
}

static long poll(uint32_t *ports, unsigned int n, uint64_t timeout)
{
	struct sched_poll p = {.nr_ports = n, .timeout = timeout};

	set_xen_guest_handle(p.ports, ports);
	return hc_sched(SCHEDOP_poll, &p);
}

static void test_poll(void)
{
	uint32_t port = (uint32_t)event_bind_ipi(0);
	uint64_t at;

	/* With upcalls masked nothing but the port or the timeout ends a poll. */
	events_mask();
	for (int i = 0; i < 5; i++) {
		at = time_ns() + 2 * MS;
		CHECK_EQ(poll(&port, 1, at), 0, "poll");
		CHECK(time_ns() >= at, "poll came back before its timeout");
	}
	CHECK_EQ(event_send(port), 0, "send");
	at = time_ns() + 60000 * MS;
	CHECK_EQ(poll(&port, 1, at), 0, "poll pending");
	CHECK(time_ns() < at, "poll of a pending port waited for its timeout");
	CHECK(event_pending(port), "poll took the event");
	event_clear(port);
	at = time_ns();
	CHECK_EQ(poll(&port, 1, 1), 0, "poll with a past timeout");
	CHECK_EQ(poll((uint32_t *)8, 1, 1), -XEN_EFAULT, "poll bad pointer");
	CHECK_EQ(poll(&port, 100000, 1), -XEN_EINVAL, "poll too many ports");
	events_unmask();
	event_close(port);
	printf("mini: timer poll ok\n");
}

static _Atomic uint64_t latest, backwards;

static void monotonic(void *arg)
{
	uint64_t last = 0, worst = 0;

	for (unsigned long i = 0; i < (unsigned long)arg; i++) {
		uint64_t before = atomic_load(&latest), now = time_ns();

		CHECK(now >= last, "clock of vcpu %u went back by %lu", this_cpu()->id, last - now);
		last = now;
		if (before > now && before - now > worst)
			worst = before - now;
		while (before < now && !atomic_compare_exchange_weak(&latest, &before, now))
			;
	}
	last = atomic_load(&backwards);
	while (worst > last && !atomic_compare_exchange_weak(&backwards, &last, worst))
		;
}

static void test_clocks(void)
{
	struct vcpu_time_info *copy = page_alloc();
	struct vcpu_register_time_memory_area a = {.addr.v = copy};
	uint64_t limit = arg_num("skew_ns", 1000000), t0, t1, t2, rs[4], sum = 0, area;

	smp_call_all(monotonic, (void *)arg_num("reads", 20000));
	CHECK(backwards <= limit, "clocks of two vcpus differ by %lu ns", backwards);
	printf("mini: timer monotonic ok skew_ns=%lu stable_bit=%d\n", backwards,
	       this_cpu()->vi->time.flags & XEN_PVCLOCK_TSC_STABLE_BIT);

	CHECK_EQ(hc_vcpu(VCPUOP_register_vcpu_time_memory_area, 0, &a), 0, "time area");
	for (int i = 0; i < 10; i++) {
		t0 = time_ns();
		t1 = time_read(copy);
		t2 = time_ns();
		CHECK(t1 + 100000 >= t0 && t1 <= t2 + 100000, "time area %lu, clock %lu..%lu", t1,
		      t0, t2);
		sleep_until(t2 + MS);
	}
	a.addr.v = NULL;
	CHECK_EQ(hc_vcpu(VCPUOP_register_vcpu_time_memory_area, 0, &a), 0, "drop time area");

	t0 = wallclock_base() + time_ns();
	CHECK(t0 > 1577836800ULL * 1000 * MS && t0 < 4102444800ULL * 1000 * MS, "wall clock %lu",
	      t0);
	runstate_read(rs);
	for (int i = 0; i < 4; i++)
		sum += rs[i];
	CHECK(rs[RUNSTATE_running] && sum <= time_ns(), "runstates sum up to %lu", sum);
	/* The registered copy may be older than the answer, never ahead of it. */
	area = this_cpu()->runstate.time[RUNSTATE_blocked];
	CHECK(area <= rs[RUNSTATE_blocked], "area: blocked for %lu, of %lu", area,
	      rs[RUNSTATE_blocked]);
	printf("mini: timer clocks ok unix_s=%lu\n", t0 / (1000 * MS));
}

void role_timer(void)
{
	smp_up_all();
	test_singleshot();
	test_past();
	test_stop();
	test_set_timer_op();
	smp_call_all(periodic_on, NULL);
	printf("mini: timer periodic ok\n");
	test_errors();
	test_poll();
	test_clocks();
	role_pass("vcpus=%u", nr_cpus);
}
