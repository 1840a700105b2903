/* SPDX-License-Identifier: MIT */
/*
 * Domains on real threads (for TSan): all pCPUs build at once, and the vCPUs of many domains start,
 * stop, sleep, set each other's timers and end while others are still being built.
 */
#include "tests/dom_sim.h"
#include "tests/seed.h"

#include <stdio.h>
#include <xen/sched.h>
#include <xen/vcpu.h>

enum { PCPUS = 3, GUESTS = 24, VCPUS = 4, STEPS = 60 };

static struct boot_module mods[2];
static _Atomic bool stop;
static _Atomic unsigned status;
static unsigned seed0;

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

static void guest_step(struct vcpu *v, unsigned *seed)
{
	static __thread struct vcpu_guest_context ctx;
	struct vcpu_set_periodic_timer period = {2 * NS_PER_MS};
	struct vcpu_runstate_info info;
	struct sched_watchdog dog = {0, 1000};
	struct domain *d = v->domain;
	vcpu_info_t *vi = atomic_load(&v->info);
	unsigned other = (unsigned)rand_r(seed) % VCPUS;
	evtchn_port_t port;

	__atomic_store_n(&vi->evtchn_upcall_pending, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&vi->evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < 64; i++)
		__atomic_store_n(&d->shared->evtchn_pending[i], 0, __ATOMIC_SEQ_CST);
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

static void pcpu_main(void *arg)
{
	unsigned seed = seed0 + this_pcpu()->id;

	(void)arg;
	if (HOST_CATCH_PANIC()) {
		atomic_store(&status, host_poweroff_status);
		atomic_store(&stop, true);
		for (unsigned i = 0; i < PCPUS; i++)
			arch_kick(i);
		return;
	}
	if (this_pcpu()->id == 0)
		domains_boot(mods, ARRAY_SIZE(mods));
	while (!atomic_load(&stop)) {
		struct pcpu *p = this_pcpu();

		sim_exit_path(p->id);
		if (p->current) {
			if (!vcpu_must_stop(p->current) && atomic_load(&p->current->is_up))
				guest_step(p->current, &seed);
			continue;
		}
		rcu_thread_offline();
		arch_idle();
		rcu_thread_online();
	}
}

Test(domain_threads, many, .timeout = 280)
{
	static char conf[GUESTS * 80];
	char *p = conf;

	seed0 = (unsigned)seed_from_env();
	sim_init(1, 32768);
	for (unsigned i = 0; i < GUESTS; i++)
		p += sprintf(p, "guest name=g%u kernel=k0 mem=2M vcpus=%u weight=%u\n", i, VCPUS,
			     64 << i % 4);
	mods[0] = sim_module(CONFIG_MODULE, conf, strlen(conf));
	mods[1] = sim_kernel("k0", false);
	host_clock_virtual(false);
	host_threads_start(PCPUS, pcpu_main, NULL);
	host_threads_join();
	cr_assert_eq(atomic_load(&status), POWEROFF_OK, "%s", sim_records);
	for (unsigned i = 1; i <= GUESTS; i++)
		cr_assert(atomic_load(&steps[i]) > STEPS, "domain %u made %u steps", i, steps[i]);
	cr_assert_eq(stats_leaks(), 0);
	cr_assert(strstr(sim_records, "\"guests\":24,\"config_errors\":0,\"leaked_frames\":0}"));
}
