/* SPDX-License-Identifier: MIT */
/*
 * Storms: all vCPUs of the guest do one kind of thing as fast as they can, and what must hold is
 * checked. mode=events: no event is lost; timers: none is early or lost; vcpus: vCPUs go down and
 * come up in the middle of their work and none of it is lost; mmu: mappings against a model, pinned
 * and unpinned tables, shootdowns. `secs` says how long; what each vCPU does follows from `seed`.
 */
#include "roles/mem.h"
#include "roles/roles.h"
#include "roles/shootdown.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include "rt/proc.h"
#include "rt/role.h"
#include "rt/smp.h"
#include "rt/time.h"
#include "user/user.h"
#include <stdatomic.h>

#define MS 1000000UL
#define LOST_NS (20000 * MS) /* what takes longer is lost */

static uint64_t end_ns;
static _Atomic unsigned long ops;

static bool over(void)
{
	return time_ns() >= end_ns;
}

/* ---- events ---- */

#define PORTS 8 /* of each vCPU */

struct channel {
	uint32_t port;
	_Atomic unsigned long sent, seen;
};

static struct channel *channels; /* PORTS of vCPU 0, then those of vCPU 1, ... */

static void arrived(uint32_t port, void *arg)
{
	struct channel *c = arg;

	CHECK(c->port == port, "event of port %u at the handler of %u", port, c->port);
	/* All that was sent before this look; what is sent after it comes as another event. */
	atomic_store(&c->seen, atomic_load(&c->sent));
}

static void open_channel(struct channel *c, unsigned int vcpu)
{
	long port = event_bind_ipi(vcpu);

	CHECK(port > 0, "bind_ipi: %ld", port);
	c->port = (uint32_t)port;
	event_handle(c->port, arrived, c);
	event_unmask(c->port);
}

static void wait_seen(struct channel *c)
{
	uint64_t limit = time_ns() + LOST_NS;
	unsigned long spins = 0;

	while (atomic_load(&c->seen) != atomic_load(&c->sent)) {
		CHECK(time_ns() < limit, "port %u: %lu of %lu events seen", c->port, c->seen,
		      c->sent);
		spin_wait(&spins);
	}
}

/* A vCPU sends on its own channels, each delivered to some vCPU; it binds some anew. */
static void events(void *arg)
{
	struct channel *mine = channels + this_cpu()->id * PORTS;
	unsigned long n = 0;

	(void)arg;
	for (; n % 256 || !over(); n++) {
		struct channel *c = &mine[rnd() % PORTS];
		unsigned int what = (unsigned int)(rnd() % 64);

		if (!c->port || what == 0) {
			if (c->port) {
				wait_seen(c);
				event_unhandle(c->port);
				CHECK_EQ(event_close(c->port), 0, "close");
			}
			open_channel(c, (unsigned int)(rnd() % nr_cpus));
		} else if (what < 4) {
			event_mask(c->port);
			atomic_fetch_add(&c->sent, 1);
			CHECK_EQ(event_send(c->port), 0, "send, masked");
			CHECK_EQ(event_unmask(c->port), 0, "unmask");
		} else {
			atomic_fetch_add(&c->sent, 1);
			CHECK_EQ(event_send(c->port), 0, "send");
		}
	}
	for (unsigned int i = 0; i < PORTS; i++)
		wait_seen(&mine[i]);
	atomic_fetch_add(&ops, n);
}

/* ---- timers ---- */

static void timers(void *arg)
{
	struct cpu *c = this_cpu();
	unsigned long n = 0;

	(void)arg;
	for (; !over(); n++) {
		uint64_t now = time_ns(), due = now + rnd() % (2 * MS);
		struct vcpu_set_periodic_timer p = {MS + rnd() % (4 * MS)};
		struct sched_poll poll = {.timeout = due};
		unsigned long before = atomic_load(&c->timer_count);
		unsigned int other = (unsigned int)(rnd() % nr_cpus);

		switch (rnd() % 8) {
		case 0:
			CHECK_EQ(hc_vcpu(VCPUOP_set_periodic_timer, other, &p), 0, "periodic");
			break;
		case 1:
		case 2:
			CHECK_EQ(hc_vcpu(VCPUOP_stop_periodic_timer, other, NULL), 0, "stop");
			break;
		case 3:
			CHECK_EQ(hc_sched(SCHEDOP_poll, &poll), 0, "poll");
			break;
		case 4: /* armed and stopped */
			CHECK_EQ(timer_arm(due, 0), 0, "arm");
			CHECK_EQ(hc_vcpu(VCPUOP_stop_singleshot_timer, c->id, NULL), 0, "stop");
			break;
		default:
			CHECK_EQ(timer_arm(due, 0), 0, "arm");
			/* An upcall on the way in may be an older one; sleep until the time. */
			while (atomic_load(&c->timer_count) == before || time_ns() < due) {
				CHECK(time_ns() < due + LOST_NS, "the timer did not fire");
				events_mask();
				if (atomic_load(&c->timer_count) == before)
					block();
				events_unmask();
				cpu_relax();
			}
		}
	}
	CHECK_EQ(hc_vcpu(VCPUOP_stop_periodic_timer, c->id, NULL), 0, "stop");
	atomic_fetch_add(&ops, n);
}

/* ---- vCPUs down and up ---- */

static _Atomic unsigned long downs, ups;
static _Atomic unsigned int working;

/* Its sum is checked: a vCPU goes on where it was. */
static void worker(void *arg)
{
	unsigned int me = this_cpu()->id;
	unsigned long sum = 0, n = 0;

	(void)arg;
	for (; !over(); n++) {
		unsigned int other = 1 + (unsigned int)(rnd() % (nr_cpus - 1));

		sum += n;
		switch (rnd() % 4) {
		case 0:
			CHECK_EQ(hc_vcpu(VCPUOP_down, other, NULL), 0, "down");
			atomic_fetch_add(&downs, 1);
			break;
		case 1:
			CHECK_EQ(hc_vcpu(VCPUOP_up, other, NULL), 0, "up");
			break;
		default:
			event_send(cpus[rnd() % nr_cpus]->wake_port);
		}
		CHECK_EQ(this_cpu()->id, me, "GS base");
	}
	CHECK_EQ(sum, n * (n - 1) / 2, "work of a vcpu that went down and up");
	atomic_fetch_add(&ops, n);
	atomic_fetch_sub(&working, 1);
}

static void storm_vcpus(void)
{
	uint64_t limit = end_ns + LOST_NS;

	CHECK(nr_cpus > 2, "needs three vcpus at least");
	atomic_store(&working, nr_cpus - 1);
	for (unsigned int i = 1; i < nr_cpus; i++)
		smp_call(i, worker, NULL);
	while (atomic_load(&working)) {
		CHECK(time_ns() < limit, "%u vcpus did not come back", atomic_load(&working));
		for (unsigned int i = 1; i < nr_cpus; i++) {
			if (hc_vcpu(VCPUOP_is_up, i, NULL))
				continue;
			CHECK_EQ(hc_vcpu(VCPUOP_up, i, NULL), 0, "up");
			atomic_fetch_add(&ups, 1);
		}
		hc_sched(SCHEDOP_yield, NULL);
	}
	/* Each is about to leave its work: it may be down still, on somebody's last order. */
	for (unsigned int i = 1; i < nr_cpus; i++)
		while (atomic_load(&cpus[i]->work)) {
			CHECK(time_ns() < limit, "vcpu %u did not finish", i);
			hc_vcpu(VCPUOP_up, i, NULL);
			hc_sched(SCHEDOP_yield, NULL);
		}
	printf("mini: storm downs=%lu ups=%lu\n", downs, ups);
	CHECK(downs && ups, "nothing happened");
}

/* ---- page tables ---- */

/* Tables pinned and unpinned, processes made and destroyed, by all at once. */
static void tables(void *arg)
{
	uint64_t until = (uint64_t)arg;
	unsigned long n = 0;

	for (; time_ns() < until; n++) {
		pte_t *t = pt_page_alloc();
		unsigned long pfn = virt_to_pfn(t);

		for (unsigned int i = 0; i < 8; i++) {
			CHECK_EQ(mmuext_pin(1, pfn), 0, "pin");
			CHECK_EQ(mmuext_unpin(pfn), 0, "unpin");
		}
		pt_page_free(t);
		if (rnd() % 4 == 0) {
			struct proc *p = proc_create(USER_ECHO, 0);

			CHECK_EQ(proc_run(p), TRAP_SYSCALL, "a new process");
			proc_destroy(p);
		}
	}
	atomic_fetch_add(&ops, n * 16);
}

static void storm_mmu(void)
{
	unsigned long steps = arg_num("steps", 400);

	while (!over()) {
		mem_random(steps);
		smp_call_all(tables, (void *)(time_ns() + 200 * MS));
		if (nr_cpus > 1)
			shootdown_test(200);
		atomic_fetch_add(&ops, steps * nr_cpus + 200);
	}
}

static void storm_events(void)
{
	channels = pages_alloc((nr_cpus * PORTS * sizeof(*channels) + PAGE_SIZE - 1) / PAGE_SIZE);
	smp_call_all(events, NULL);
}

static void storm_timers(void)
{
	smp_call_all(timers, NULL);
}

static const struct {
	const char *name;
	void (*run)(void);
} modes[] = {
	{"events", storm_events},
	{"timers", storm_timers},
	{"vcpus", storm_vcpus},
	{"mmu", storm_mmu},
};

void role_storm(void)
{
	const char *mode = arg_str("mode", "events");

	rnd_init();
	smp_up_all();
	end_ns = time_ns() + arg_num("secs", 3) * 1000 * MS;
	for (unsigned int i = 0; i < ARRAY_LEN(modes); i++)
		if (!strcmp(modes[i].name, mode)) {
			modes[i].run();
			role_pass("mode=%s ops=%lu vcpus=%u", mode, atomic_load(&ops), nr_cpus);
		}
	role_fail("unknown mode=%s", mode);
}
