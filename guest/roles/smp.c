/* SPDX-License-Identifier: MIT */
/* Several vCPUs: IPIs, atomics, down and up, FPU state, TLB shootdown. */
#include "roles/roles.h"
#include "roles/fpu.h"
#include "roles/shootdown.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include "rt/mem.h"
#include "rt/proc.h"
#include "rt/role.h"
#include "rt/smp.h"
#include "rt/time.h"
#include "user/user.h"
#include <stdatomic.h>

static uint32_t ipi_port[MAX_VCPUS];
static _Atomic unsigned long ipi_got[MAX_VCPUS];

static void ipi(uint32_t port, void *arg)
{
	unsigned int id = this_cpu()->id;

	CHECK(ipi_port[id] == port && arg == NULL, "IPI port %u on vcpu %u", port, id);
	atomic_fetch_add(&ipi_got[id], 1);
}

struct rally {
	unsigned int a, b;
	unsigned long rounds;
};

static void wait_ipi(unsigned int id, unsigned long n)
{
	events_mask();
	while (atomic_load(&ipi_got[id]) < n) {
		block();
		events_mask();
	}
	events_unmask();
}

static void rally_side(struct rally *r, bool first)
{
	unsigned int me = first ? r->a : r->b, other = first ? r->b : r->a;

	for (unsigned long i = 1; i <= r->rounds; i++) {
		if (!first)
			wait_ipi(me, i);
		/* Nothing more can come before our answer. */
		CHECK_EQ(atomic_load(&ipi_got[me]), first ? i - 1 : i, "IPIs received");
		CHECK_EQ(event_send(ipi_port[other]), 0, "send IPI");
		if (first)
			wait_ipi(me, i);
	}
}

static void rally_a(void *arg)
{
	rally_side(arg, true);
}

static void rally_b(void *arg)
{
	rally_side(arg, false);
}

static void test_ipi(unsigned long rounds)
{
	unsigned int pairs = 0;

	for (unsigned int i = 0; i < nr_cpus; i++) {
		long port = event_bind_ipi(i);

		CHECK(port > 0, "bind_ipi %u: %ld", i, port);
		ipi_port[i] = (uint32_t)port;
		event_handle(ipi_port[i], ipi, NULL);
		event_unmask(ipi_port[i]);
	}
	for (unsigned int b = 1; b < nr_cpus; b++)
		for (unsigned int a = 0; a < b; a++, pairs++) {
			struct rally r = {a, b, rounds};

			ipi_got[a] = ipi_got[b] = 0;
			smp_call(b, rally_b, &r);
			if (a) {
				smp_call(a, rally_a, &r);
				smp_wait(a);
			} else {
				rally_a(&r);
			}
			smp_wait(b);
		}
	printf("mini: smp ipi ok pairs=%u rounds=%lu\n", pairs, rounds);
}

static struct {
	_Atomic unsigned long atomic;
	unsigned long plain;
	atomic_flag lock;
} sum;

static void count(void *arg)
{
	for (unsigned long i = 0; i < (unsigned long)arg; i++) {
		unsigned long spins = 0;

		atomic_fetch_add(&sum.atomic, 1);
		while (atomic_flag_test_and_set_explicit(&sum.lock, memory_order_acquire))
			spin_wait(&spins);
		sum.plain++;
		atomic_flag_clear_explicit(&sum.lock, memory_order_release);
	}
}

static void test_atomics(unsigned long n)
{
	smp_call_all(count, (void *)n);
	CHECK_EQ(sum.atomic, n * nr_cpus, "atomic sum");
	CHECK_EQ(sum.plain, n * nr_cpus, "sum under a lock");
	printf("mini: smp atomics ok\n");
}

static _Atomic unsigned int woke;

static void go_down(void *arg)
{
	unsigned int me = this_cpu()->id;

	(void)arg;
	CHECK_EQ(hc_vcpu(VCPUOP_down, me, NULL), 0, "down");
	CHECK_EQ(this_cpu()->id, me, "GS base after up");
	atomic_fetch_add(&woke, 1);
}

static void test_down_up(void)
{
	unsigned long spins = 0;

	for (unsigned int i = 1; i < nr_cpus; i++) {
		unsigned int before = woke;

		smp_call(i, go_down, NULL);
		while (hc_vcpu(VCPUOP_is_up, i, NULL) != 0)
			spin_wait(&spins);
		CHECK_EQ(woke, before, "a vcpu that is down runs");
		CHECK_EQ(hc_vcpu(VCPUOP_up, i, NULL), 0, "up");
		CHECK_EQ(hc_vcpu(VCPUOP_is_up, i, NULL), 1, "is_up");
		smp_wait(i);
		CHECK_EQ(woke, before + 1, "came back up");
	}
	CHECK_EQ(hc_vcpu(VCPUOP_up, nr_cpus + 100, NULL), -XEN_ENOENT, "up of no vcpu");
	if (nr_cpus > 1) {
		void *ctxt = pages_alloc(2);

		CHECK_EQ(hc_vcpu(VCPUOP_initialise, 1, ctxt), -XEN_EEXIST, "initialise twice");
	}
	printf("mini: smp down/up ok\n");
}

static struct proc *user;

static void run_user(void *arg)
{
	(void)arg;
	CHECK_EQ(proc_run(user), TRAP_SYSCALL, "process of another vcpu");
	proc_destroy(user);
}

/*
 * The runstate area is written when the vCPU loses its pCPU, also in user mode, whose address space
 * does not have it. A vCPU is taken down there by another.
 */
static void test_runstate(void)
{
	volatile struct vcpu_runstate_info *rs = &cpus[1]->runstate;
	volatile uint64_t *data;
	unsigned long spins = 0;

	user = proc_create(USER_SPIN, 0);
	data = (volatile uint64_t *)user->data;
	smp_call(1, run_user, NULL);
	while (!data[3])
		spin_wait(&spins);
	CHECK_EQ(hc_vcpu(VCPUOP_down, 1, NULL), 0, "down from another vcpu");
	for (uint64_t end = time_ns() + 5000000000UL; rs->state != RUNSTATE_offline;) {
		/* By way of runnable, when it was preempted before it could go. */
		CHECK(time_ns() < end, "runstate area of a vcpu that went down in user mode");
		spin_wait(&spins);
	}
	CHECK_EQ(hc_vcpu(VCPUOP_up, 1, NULL), 0, "up");
	data[1] = 1;
	smp_wait(1);
	CHECK(rs->state != RUNSTATE_offline, "runstate area of a vcpu that came back");
	printf("mini: smp runstate ok\n");
}

void role_smp(void)
{
	unsigned long rounds = arg_num("rounds", 20);

	CHECK(nr_cpus > 1, "one vcpu only");
	smp_up_all();
	test_ipi(rounds);
	test_atomics(rounds * 500);
	fpu_test(rounds * 20);
	test_down_up();
	test_runstate();
	shootdown_test(rounds * 10);
	role_pass("vcpus=%u", nr_cpus);
}
