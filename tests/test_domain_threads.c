/* SPDX-License-Identifier: MIT */
/*
 * Domains on real threads (for TSan): all pCPUs build at once, and the vCPUs of many domains start,
 * stop, sleep, set each other's timers and end while others are still being built.
 */
#include "tests/dom_threads.h"
#include "tests/seed.h"

#include <stdio.h>
#include <xen/sched.h>
#include <xen/vcpu.h>

enum { PCPUS = 3, GUESTS = 24, VCPUS = 4, STEPS = 60 };

static unsigned seeds[PCPUS];

/* Steps taken, by domain id; vCPU 0 powers off when its domain has made enough. */
static _Atomic unsigned steps[GUESTS + 1];

static long vcpu(unsigned cmd, unsigned id, const void *arg)
{
	return sim_hc(__HYPERVISOR_vcpu_op, cmd, id, (uint64_t)arg);
}

static void power_off(struct vcpu *v)
{
	struct sched_shutdown sd = {SHUTDOWN_poweroff};

	cr_assert_eq(sim_hc(29, SCHEDOP_shutdown, (uint64_t)&sd, 0), 0);
	cr_assert(vcpu_must_stop(v));
}

/* Sleep a little; somebody else may end it sooner. */
static void nap(unsigned how)
{
	uint64_t until = arch_now_ns() + 100 * NS_PER_US;
	struct sched_poll poll = {.timeout = until};

	if (how) {
		cr_assert_eq(sim_hc(__HYPERVISOR_set_timer_op, until, 0, 0), 0);
		cr_assert_eq(sim_hc(29, SCHEDOP_block, 0, 0), 0);
	} else {
		cr_assert_eq(sim_hc(29, SCHEDOP_poll, (uint64_t)&poll, 0), 0);
	}
}

static void guest_step(struct vcpu *v)
{
	static __thread struct vcpu_guest_context ctx;
	struct vcpu_set_periodic_timer period = {2 * NS_PER_MS};
	struct vcpu_runstate_info info;
	struct sched_watchdog dog = {0, 1000};
	struct domain *d = v->domain;
	unsigned *seed = &seeds[this_pcpu()->id];
	unsigned other = (unsigned)rand_r(seed) % VCPUS;
	evtchn_port_t port;

	sim_take_events(v);
	if (atomic_fetch_add(&steps[d->id], 1) == STEPS) {
		power_off(v);
		return;
	}
	if (!atomic_load(&v->evt.virq[VIRQ_TIMER])) /* not bound yet: a nap would never end */
		cr_assert_eq(evtchn_bind_virq(d, VIRQ_TIMER, v->id, &port), 0);
	switch (rand_r(seed) % 10) {
	case 0:
	case 1:
		vcpu(VCPUOP_initialise, other, &ctx);
		vcpu(VCPUOP_up, other, NULL);
		break;
	case 2:
		if (other) /* vCPU 0 stays, so that the domain does */
			vcpu(VCPUOP_down, other, NULL);
		break;
	case 3:
		vcpu(VCPUOP_set_periodic_timer, other, &period);
		break;
	case 4:
		vcpu(VCPUOP_stop_periodic_timer, other, NULL);
		break;
	case 5:
		cr_assert_eq(vcpu(VCPUOP_get_runstate_info, v->id, &info), 0);
		cr_assert_eq(info.state, RUNSTATE_running);
		break;
	case 6:
		sim_hc(29, SCHEDOP_watchdog, (uint64_t)&dog, 0);
		break;
	case 7:
		sim_hc(29, SCHEDOP_yield, 0, 0);
		break;
	default:
		nap(rand_r(seed) % 2);
		break;
	}
}

Test(domain_threads, many, .timeout = 280)
{
	static struct dom_threads t = {.pcpus = PCPUS, .guest_step = guest_step};
	static char conf[GUESTS * 80];
	unsigned seed = (unsigned)seed_from_env();
	char *p = conf;

	for (unsigned i = 0; i < PCPUS; i++)
		seeds[i] = seed + i;
	sim_init(1, 32768);
	for (unsigned i = 0; i < GUESTS; i++)
		p += sprintf(p, "guest name=g%u kernel=k0 mem=2M vcpus=%u weight=%u\n", i, VCPUS,
			     64 << i % 4);
	t.mods[0] = sim_module(CONFIG_MODULE, conf, strlen(conf));
	t.mods[1] = sim_kernel("k0", false);
	dom_threads_run(&t);
	cr_assert_eq(atomic_load(&t.status), POWEROFF_OK, "%s", sim_records);
	for (unsigned i = 1; i <= GUESTS; i++)
		cr_assert(atomic_load(&steps[i]) > STEPS, "domain %u made %u steps", i, steps[i]);
	cr_assert_eq(stats_leaks(), 0);
	cr_assert(strstr(sim_records, "\"guests\":24,\"config_errors\":0,\"leaked_frames\":0}"));
}
