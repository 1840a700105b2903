/* SPDX-License-Identifier: MIT */
/* sched_op, set_timer_op, vcpu_op and the small hypercalls, against the ABI. */
#include "tests/dom_sim.h"

#include <xen/physdev.h>
#include <xen/sched.h>
#include <xen/vcpu.h>

static struct domain *d;

static void setup(unsigned cpus, unsigned vcpus)
{
	sim_init(cpus, 16384);
	d = sim_domain(vcpus);
}

static long sched(unsigned cmd, const void *arg)
{
	return sim_hc(29, cmd, (uint64_t)arg, 0);
}

static long vcpu(unsigned cmd, unsigned id, const void *arg)
{
	return sim_hc(__HYPERVISOR_vcpu_op, cmd, id, (uint64_t)arg);
}

static evtchn_port_t bind_timer(unsigned id)
{
	evtchn_port_t port;

	cr_assert_eq(evtchn_bind_virq(d, VIRQ_TIMER, id, &port), 0);
	d->shared->evtchn_mask[0] &= ~(1UL << port);
	return port;
}

static bool take_event(unsigned id, evtchn_port_t port)
{
	vcpu_info_t *vi = &d->shared->vcpu_info[id];
	bool was = d->shared->evtchn_pending[0] >> port & 1;

	d->shared->evtchn_pending[0] &= ~(1UL << port);
	vi->evtchn_upcall_pending = 0;
	vi->evtchn_pending_sel = 0;
	return was;
}

static bool blocked(unsigned id)
{
	sim_pump(3);
	return sim_cpu_of(d->vcpu[id]) < 0;
}

/* ---- block and poll ---- */

Test(sched_op, block_and_wake)
{
	vcpu_info_t *vi;

	setup(2, 1);
	vi = &d->shared->vcpu_info[0];
	vi->evtchn_upcall_mask = 1;
	cr_assert_eq(sched(SCHEDOP_block, NULL), 0);
	cr_assert_eq(vi->evtchn_upcall_mask, 0, "blocking enables events");
	cr_assert(blocked(0));
	vcpu_mark_events_pending(d->vcpu[0]);
	sim_run_until(d->vcpu[0]);
	/* With an event pending it does not block. */
	vi->evtchn_upcall_mask = 1;
	cr_assert_eq(sched(SCHEDOP_block, NULL), 0);
	cr_assert(!blocked(0));
	host_become((unsigned)sim_cpu_of(d->vcpu[0]));
	vi->evtchn_upcall_pending = 0;
	cr_assert_eq(sim_hc(__HYPERVISOR_sched_op_compat, SCHEDOP_block, 0, 0), 0);
	cr_assert(blocked(0));
}

/* An event between the guest's last look and its block is not lost. */
Test(sched_op, wake_before_block)
{
	setup(2, 1);
	take_event(0, 0);
	vcpu_kick_for_event(d->vcpu[0]);
	vcpu_mark_events_pending(d->vcpu[0]);
	cr_assert_eq(sched(SCHEDOP_block, NULL), 0);
	cr_assert(!blocked(0));
}

Test(sched_op, poll)
{
	evtchn_port_t port, other;
	struct sched_poll p = {.nr_ports = 1};
	uint64_t t0;

	setup(2, 2);
	p.ports.p = &port;
	cr_assert_eq(evtchn_bind_ipi(d, 0, &port), 0);
	cr_assert_eq(evtchn_bind_ipi(d, 0, &other), 0);
	d->shared->vcpu_info[0].evtchn_upcall_mask = 1;
	d->shared->vcpu_info[0].evtchn_upcall_pending = 0;
	/* Until the port is pending, though masked. */
	cr_assert_eq(sched(SCHEDOP_poll, &p), 0);
	cr_assert(blocked(0));
	/* Another port; masked, for an upcall that becomes due would end the poll. */
	d->shared->evtchn_mask[0] = ~0UL;
	evtchn_send(d, other);
	cr_assert(blocked(0), "not its port");
	evtchn_send(d, port);
	sim_run_until(d->vcpu[0]);
	/* Pending already. */
	cr_assert_eq(sched(SCHEDOP_poll, &p), 0);
	cr_assert(!blocked(0));
	/* Timeout. */
	host_become((unsigned)sim_cpu_of(d->vcpu[0]));
	d->shared->evtchn_pending[0] = 0;
	t0 = arch_now_ns();
	p.timeout = t0 + NS_PER_MS;
	cr_assert_eq(sched(SCHEDOP_poll, &p), 0);
	cr_assert(blocked(0));
	sim_run_until(d->vcpu[0]);
	cr_assert(arch_now_ns() >= p.timeout && arch_now_ns() < p.timeout + NS_PER_MS);
	cr_assert(!atomic_load(&d->vcpu[0]->polling));
	/* Mistakes. */
	p.nr_ports = 129;
	cr_assert_eq(sched(SCHEDOP_poll, &p), -XEN_EINVAL);
	p.nr_ports = 1;
	port = 0x7fffffff;
	cr_assert_eq(sched(SCHEDOP_poll, &p), -XEN_EINVAL);
	p.ports.p = NULL;
	cr_assert_eq(sched(SCHEDOP_poll, &p), -XEN_EFAULT);
	cr_assert_eq(sched(SCHEDOP_poll, NULL), -XEN_EFAULT);
}

/* ---- shutdown and watchdog ---- */

static void ends(unsigned reason, enum domain_end how)
{
	struct sched_shutdown sd = {reason};

	cr_assert_eq(sched(SCHEDOP_shutdown, &sd), 0);
	cr_assert(vcpu_must_stop(d->vcpu[0]));
	cr_assert_eq(atomic_load(&d->end), how);
	sim_wait_gone();
	d = sim_domain(1);
}

Test(sched_op, shutdown)
{
	struct sched_shutdown sd = {6};
	struct sched_remote_shutdown rs = {.domain_id = 99};

	setup(2, 3);
	cr_assert_eq(sched(SCHEDOP_shutdown, &sd), -XEN_EINVAL);
	cr_assert_eq(sched(SCHEDOP_shutdown_code, &sd), -XEN_EINVAL);
	cr_assert_eq(sched(SCHEDOP_shutdown, NULL), -XEN_EFAULT);
	cr_assert_eq(sched(SCHEDOP_remote_shutdown, &rs), -XEN_ESRCH);
	rs.domain_id = d->id;
	cr_assert_eq(sched(SCHEDOP_remote_shutdown, &rs), -XEN_EPERM);
	cr_assert_eq(sched(SCHEDOP_pin_override, &rs), -XEN_EPERM);
	cr_assert_eq(sched(77, NULL), -XEN_ENOSYS);
	ends(SHUTDOWN_poweroff, END_OFF);
	ends(SHUTDOWN_reboot, END_REBOOT);
	ends(SHUTDOWN_suspend, END_SUSPEND);
	ends(SHUTDOWN_crash, END_CRASH);
	ends(SHUTDOWN_watchdog, END_WATCHDOG);
	/* A code given before wins. */
	sd.reason = SHUTDOWN_crash;
	cr_assert_eq(sched(SCHEDOP_shutdown_code, &sd), 0);
	ends(SHUTDOWN_poweroff, END_CRASH);
}

static long watchdog(uint32_t id, uint32_t timeout)
{
	struct sched_watchdog w = {id, timeout};

	return sched(SCHEDOP_watchdog, &w);
}

Test(sched_op, watchdog)
{
	setup(2, 1);
	cr_assert_eq(watchdog(3, 1), -XEN_EINVAL);
	cr_assert_eq(watchdog(0, 0), -XEN_EINVAL);
	cr_assert_eq(watchdog(1, 1), -XEN_EINVAL, "not in use");
	cr_assert_eq(watchdog(0, 10), 1);
	cr_assert_eq(watchdog(0, 20), 2);
	cr_assert_eq(watchdog(0, 20), -XEN_ENOSPC);
	cr_assert_eq(watchdog(2, 0), 0);
	/* Patted for a minute, it stays. */
	for (unsigned i = 0; i < 12; i++) {
		host_clock_advance(5 * NS_PER_SEC);
		sim_pump(3);
		sim_run_until(d->vcpu[0]);
		cr_assert_eq(watchdog(1, 10), 0);
		sim_pump(1);
		cr_assert(!vcpu_must_stop(d->vcpu[0]));
	}
	/* A shorter time counts from now. */
	sim_run_until(d->vcpu[0]);
	cr_assert_eq(watchdog(1, 1), 0);
	sim_pump(1);
	host_clock_advance(1100 * NS_PER_MS);
	sim_pump(2);
	cr_assert_eq(atomic_load(&d->end), END_WATCHDOG);
	sim_wait_gone();
}

/* ---- timers ---- */

Test(timers, singleshot)
{
	struct vcpu_set_singleshot_timer t = {0};
	evtchn_port_t port;

	setup(2, 2);
	port = bind_timer(0);
	t.timeout_abs_ns = arch_now_ns() + 5 * NS_PER_MS;
	cr_assert_eq(vcpu(VCPUOP_set_singleshot_timer, 0, &t), 0);
	sim_pump(200);
	cr_assert(!take_event(0, port), "too early");
	sim_pump(60);
	cr_assert(take_event(0, port));
	sim_pump(500);
	cr_assert(!take_event(0, port), "only once");
	sim_run_until(d->vcpu[0]);
	/* In the past: refused when so asked, else at once. */
	t.timeout_abs_ns = arch_now_ns() - 1;
	t.flags = VCPU_SSHOTTMR_future;
	cr_assert_eq(vcpu(VCPUOP_set_singleshot_timer, 0, &t), -XEN_ETIME);
	t.flags = 0;
	t.timeout_abs_ns = 0;
	cr_assert_eq(vcpu(VCPUOP_set_singleshot_timer, 0, &t), 0);
	sim_pump(2);
	cr_assert(take_event(0, port));
	/* Stopped. */
	sim_run_until(d->vcpu[0]);
	t.timeout_abs_ns = arch_now_ns() + NS_PER_MS;
	cr_assert_eq(vcpu(VCPUOP_set_singleshot_timer, 0, &t), 0);
	cr_assert_eq(vcpu(VCPUOP_stop_singleshot_timer, 0, NULL), 0);
	sim_pump(100);
	cr_assert(!take_event(0, port));
	sim_run_until(d->vcpu[0]);
	cr_assert_eq(vcpu(VCPUOP_set_singleshot_timer, 1, &t), -XEN_EINVAL, "only one's own");
	cr_assert_eq(vcpu(VCPUOP_stop_singleshot_timer, 1, NULL), -XEN_EINVAL);
}

Test(timers, set_timer_op)
{
	evtchn_port_t port;

	setup(1, 1);
	port = bind_timer(0);
	cr_assert_eq(sim_hc(__HYPERVISOR_set_timer_op, arch_now_ns() + NS_PER_MS, 0, 0), 0);
	sim_pump(70);
	cr_assert(take_event(0, port));
	cr_assert_eq(sim_hc(__HYPERVISOR_set_timer_op, arch_now_ns() + NS_PER_MS, 0, 0), 0);
	cr_assert_eq(sim_hc(__HYPERVISOR_set_timer_op, 0, 0, 0), 0);
	sim_pump(70);
	cr_assert(!take_event(0, port));
	/* An overflow is answered soon, not never. */
	cr_assert_eq(sim_hc(__HYPERVISOR_set_timer_op, ~0ULL, 0, 0), 0);
	host_clock_advance(101 * NS_PER_MS);
	sim_pump(2);
	cr_assert(take_event(0, port));
}

Test(timers, periodic)
{
	struct vcpu_set_periodic_timer t = {2 * NS_PER_MS};
	evtchn_port_t port;
	unsigned ticks = 0;

	setup(2, 2);
	port = bind_timer(0);
	cr_assert_eq(vcpu(VCPUOP_set_periodic_timer, 0, &t), 0);
	for (unsigned i = 0; i < 1000; i++) {
		sim_pump(1);
		ticks += take_event(0, port);
	}
	cr_assert(ticks >= 9 && ticks <= 10, "%u ticks in 20 ms", ticks);
	sim_run_until(d->vcpu[0]);
	cr_assert_eq(vcpu(VCPUOP_stop_periodic_timer, 0, NULL), 0);
	sim_pump(200);
	cr_assert(!take_event(0, port));
	sim_run_until(d->vcpu[0]);
	t.period_ns = NS_PER_MS - 1;
	cr_assert_eq(vcpu(VCPUOP_set_periodic_timer, 0, &t), -XEN_EINVAL);
	/* Of another vCPU: one that has not run, and one that runs. */
	t.period_ns = NS_PER_MS;
	cr_assert_eq(vcpu(VCPUOP_set_periodic_timer, 1, &t), 0);
	atomic_store(&d->vcpu[1]->initialised, true);
	cr_assert_eq(vcpu(VCPUOP_up, 1, NULL), 0);
	port = bind_timer(1);
	sim_run_until(d->vcpu[1]);
	sim_pump(70);
	cr_assert(take_event(1, port));
	sim_run_until(d->vcpu[0]);
	cr_assert_eq(vcpu(VCPUOP_stop_periodic_timer, 1, NULL), 0);
	sim_pump(3);
	take_event(1, port);
	sim_pump(200);
	cr_assert(!take_event(1, port));
}

/* Timers go with a vCPU to another pCPU and fire there. */
Test(timers, move_with_their_vcpu)
{
	struct sched_params to = {.pin = cpumask_of(1)};
	evtchn_port_t port;

	setup(2, 1);
	port = bind_timer(0);
	cr_assert_eq(sim_cpu_of(d->vcpu[0]), 0);
	cr_assert_eq(sim_hc(__HYPERVISOR_set_timer_op, arch_now_ns() + 2 * NS_PER_MS, 0, 0), 0);
	cr_assert_eq(vcpu(VCPUOP_set_periodic_timer, 0,
			  &(struct vcpu_set_periodic_timer){50 * NS_PER_MS}),
		     0);
	cr_assert(sched_set_params(&d->vcpu[0]->unit, &to));
	sim_pump(20);
	cr_assert_eq(sim_cpu_of(d->vcpu[0]), 1);
	cr_assert_eq(d->vcpu[0]->singleshot.cpu, 1);
	cr_assert_eq(d->vcpu[0]->periodic.cpu, 1);
	cr_assert(!take_event(0, port));
	sim_pump(100);
	cr_assert(take_event(0, port));
	host_clock_advance(50 * NS_PER_MS);
	sim_pump(2);
	cr_assert(take_event(0, port));
}

/* ---- vcpu_op ---- */

Test(vcpu_op, life)
{
	static struct vcpu_guest_context ctx;
	struct vcpu *v;

	setup(2, 3);
	v = d->vcpu[1];
	cr_assert_eq(vcpu(VCPUOP_is_up, 3, NULL), -XEN_ENOENT);
	cr_assert_eq(vcpu(VCPUOP_is_up, 0, NULL), 1);
	cr_assert_eq(vcpu(VCPUOP_is_up, 1, NULL), 0);
	cr_assert_eq(vcpu(VCPUOP_up, 1, NULL), -XEN_EINVAL, "not initialised");
	cr_assert_eq(vcpu(VCPUOP_initialise, 1, NULL), -XEN_EFAULT);
	cr_assert_eq(vcpu(VCPUOP_initialise, 1, &ctx), 0);
	cr_assert_eq(vcpu(VCPUOP_initialise, 1, &ctx), -XEN_EEXIST);
	cr_assert_eq(vcpu(VCPUOP_initialise, 0, &ctx), -XEN_EEXIST);
	cr_assert_eq(vcpu(VCPUOP_up, 1, NULL), 0);
	cr_assert_eq(vcpu(VCPUOP_up, 1, NULL), 0);
	sim_run_until(v);
	/* It takes itself down; events do not bring it back, VCPUOP_up does. */
	cr_assert_eq(vcpu(VCPUOP_down, 1, NULL), 0);
	cr_assert(blocked(1));
	vcpu_mark_events_pending(v);
	cr_assert(blocked(1));
	cr_assert_eq(v->unit.rs.state, RUNSTATE_offline);
	sim_run_until(d->vcpu[0]);
	cr_assert_eq(vcpu(VCPUOP_is_up, 1, NULL), 0);
	cr_assert_eq(vcpu(VCPUOP_up, 1, NULL), 0);
	sim_run_until(v);
	/* Taken down by another while it runs. */
	sim_run_until(d->vcpu[0]);
	cr_assert_eq(vcpu(VCPUOP_down, 1, NULL), 0);
	cr_assert(blocked(1));
	sim_run_until(d->vcpu[0]);
	cr_assert_eq(vcpu(VCPUOP_up, 1, NULL), 0);
	sim_run_until(v);
	/* Down and up again before its pCPU has seen either. */
	sim_run_until(d->vcpu[0]);
	cr_assert_eq(vcpu(VCPUOP_down, 1, NULL), 0);
	cr_assert_eq(vcpu(VCPUOP_up, 1, NULL), 0);
	cr_assert(!blocked(1));
	/* The last one to go down ends the domain. */
	sim_run_until(v);
	cr_assert_eq(vcpu(VCPUOP_down, 1, NULL), 0);
	sim_run_until(d->vcpu[0]);
	cr_assert_eq(vcpu(VCPUOP_down, 0, NULL), 0);
	cr_assert_eq(atomic_load(&d->end), END_OFF);
	sim_wait_gone();
}

Test(vcpu_op, down_on_one_pcpu)
{
	setup(1, 2);
	atomic_store(&d->vcpu[1]->initialised, true);
	cr_assert_eq(vcpu(VCPUOP_up, 1, NULL), 0);
	/* Queued behind vCPU 0 all the time. */
	cr_assert_eq(vcpu(VCPUOP_down, 1, NULL), 0);
	for (unsigned i = 0; i < 2000; i++) {
		sim_pump(1);
		cr_assert(sim_cpu_of(d->vcpu[1]) < 0);
	}
	cr_assert_eq(d->vcpu[1]->unit.rs.state, RUNSTATE_offline);
	domain_end(d, END_OFF, NULL);
	sim_wait_gone();
}

Test(vcpu_op, register_vcpu_info)
{
	struct vcpu_register_vcpu_info r = {.mfn = 5, .offset = 128};
	vcpu_info_t *vi;
	evtchn_port_t port;

	setup(2, 40);
	port = bind_timer(0);
	r.offset = PAGE_SIZE - 63;
	cr_assert_eq(vcpu(VCPUOP_register_vcpu_info, 0, &r), -XEN_ENXIO);
	r.offset = 1;
	cr_assert_eq(vcpu(VCPUOP_register_vcpu_info, 0, &r), -XEN_ENXIO);
	r.offset = 128;
	r.mfn = 64;
	cr_assert_eq(vcpu(VCPUOP_register_vcpu_info, 0, &r), -XEN_EINVAL, "not its memory");
	r.mfn = ~0ULL;
	cr_assert_eq(vcpu(VCPUOP_register_vcpu_info, 0, &r), -XEN_EINVAL);
	r.mfn = 5;
	cr_assert_eq(vcpu(VCPUOP_register_vcpu_info, 0, &r), 0);
	cr_assert_eq(vcpu(VCPUOP_register_vcpu_info, 0, &r), -XEN_EINVAL, "only once");
	vi = (vcpu_info_t *)((char *)arch_mfn_to_virt(mm_gfn_to_mfn(&d->mm, GFN(5))) + 128);
	cr_assert_eq((void *)atomic_load(&d->vcpu[0]->info), (void *)vi);
	cr_assert_eq(vi->evtchn_upcall_mask, 1, "as it was");
	cr_assert(vi->evtchn_upcall_pending, "nothing is lost on the way");
	cr_assert_neq(vi->time.tsc_to_system_mul, 0);
	cr_assert(!(vi->time.version & 1));
	vi->evtchn_upcall_pending = 0;
	vi->evtchn_pending_sel = 0;
	d->shared->evtchn_pending[0] = 0;
	cr_assert_eq(sim_hc(__HYPERVISOR_set_timer_op, 1, 0, 0), 0);
	sim_pump(2);
	cr_assert(vi->evtchn_upcall_pending && d->shared->evtchn_pending[0] >> port & 1);
	/* vCPUs beyond the 32 of shared_info can't be initialised without. */
	sim_run_until(d->vcpu[0]);
	cr_assert_eq(vcpu(VCPUOP_initialise, 35, &(struct vcpu_guest_context){0}), -XEN_EINVAL);
	r.offset = 256;
	cr_assert_eq(vcpu(VCPUOP_register_vcpu_info, 35, &r), 0);
	cr_assert_eq(vcpu(VCPUOP_initialise, 35, &(struct vcpu_guest_context){0}), 0);
}

static uint64_t sum(const struct vcpu_runstate_info *i)
{
	return i->time[0] + i->time[1] + i->time[2] + i->time[3];
}

Test(vcpu_op, runstate)
{
	static struct vcpu_runstate_info info, area;
	struct vcpu_register_runstate_memory_area r = {.addr.v = &area};
	uint64_t t0, s0;

	setup(1, 2);
	cr_assert_eq(vcpu(VCPUOP_get_runstate_info, 0, &info), 0);
	cr_assert_eq(info.state, RUNSTATE_running);
	t0 = arch_now_ns();
	s0 = sum(&info);
	sim_pump(50);
	cr_assert_eq(vcpu(VCPUOP_get_runstate_info, 0, &info), 0);
	cr_assert_eq(sum(&info) - s0, arch_now_ns() - t0, "the times add up to the ns");
	cr_assert_eq(vcpu(VCPUOP_get_runstate_info, 1, &info), 0);
	cr_assert_eq(info.state, RUNSTATE_offline);
	for (unsigned flag = 0; flag < 2; flag++) {
		cr_assert_eq(sim_hc(__HYPERVISOR_vm_assist,
				    flag ? VMASST_CMD_enable : VMASST_CMD_disable,
				    VMASST_TYPE_runstate_update_flag, 0),
			     0);
		memset(&area, 0xff, sizeof(area));
		cr_assert_eq(vcpu(VCPUOP_register_runstate_memory_area, 0, &r), 0);
		cr_assert_eq(area.state, RUNSTATE_running);
		cr_assert_eq(area.state_entry_time >> 63, 0);
		/* It blocks: the area says so; it runs again: so too. */
		d->shared->vcpu_info[0].evtchn_upcall_pending = 0;
		cr_assert_eq(sched(SCHEDOP_block, NULL), 0);
		cr_assert(blocked(0));
		cr_assert_eq(area.state, RUNSTATE_blocked);
		sim_pump(100);
		vcpu_mark_events_pending(d->vcpu[0]);
		sim_run_until(d->vcpu[0]);
		cr_assert_eq(area.state, RUNSTATE_running);
		cr_assert_eq(area.state_entry_time, d->vcpu[0]->unit.rs.entry_ns);
		cr_assert(area.time[RUNSTATE_blocked] >= 100 * SIM_STEP_NS);
	}
	r.addr.p = 0;
	cr_assert_eq(vcpu(VCPUOP_register_runstate_memory_area, 0, &r), 0);
	cr_assert_eq(vcpu(VCPUOP_register_runstate_memory_area, 0, NULL), -XEN_EFAULT);
}

Test(vcpu_op, time_area)
{
	static struct vcpu_time_info area = {.version = 6};
	struct vcpu_register_time_memory_area r = {.addr.v = &area};
	const struct vcpu_time_info *t;

	setup(1, 1);
	t = &d->shared->vcpu_info[0].time;
	cr_assert_eq(vcpu(VCPUOP_register_vcpu_time_memory_area, 0, &r), 0);
	cr_assert_eq(area.version, 8);
	cr_assert_eq(area.tsc_to_system_mul, t->tsc_to_system_mul);
	cr_assert_eq(area.tsc_timestamp, t->tsc_timestamp);
	cr_assert(area.flags & XEN_PVCLOCK_TSC_STABLE_BIT);
	r.addr.p = 8;
	cr_assert_eq(vcpu(VCPUOP_register_vcpu_time_memory_area, 0, &r), -XEN_EFAULT);
}

Test(vcpu_op, others)
{
	uint64_t id;

	setup(1, 1);
	cr_assert_eq(vcpu(VCPUOP_get_physid, 0, &id), -XEN_EINVAL);
	cr_assert_eq(vcpu(VCPUOP_send_nmi, 0, NULL), -XEN_EINVAL);
	d->vcpu[0]->arch.nmi_eip = 1;
	cr_assert_eq(vcpu(VCPUOP_send_nmi, 0, NULL), 0);
	cr_assert_eq(vcpu(99, 0, NULL), -XEN_ENOSYS);
}

/* ---- the rest ---- */

Test(misc, vm_assist)
{
	setup(1, 1);
	cr_assert_eq(sim_hc(__HYPERVISOR_vm_assist, VMASST_CMD_enable, 3, 0), 0);
	cr_assert_eq(sim_hc(__HYPERVISOR_vm_assist, VMASST_CMD_enable, 32, 0), 0);
	cr_assert_eq(atomic_load(&d->vm_assist), 1ULL << 32 | 8);
	cr_assert_eq(sim_hc(__HYPERVISOR_vm_assist, VMASST_CMD_disable, 3, 0), 0);
	cr_assert_eq(atomic_load(&d->vm_assist), 1ULL << 32);
	cr_assert_eq(sim_hc(__HYPERVISOR_vm_assist, VMASST_CMD_enable, 6, 0), -XEN_EINVAL);
	cr_assert_eq(sim_hc(__HYPERVISOR_vm_assist, VMASST_CMD_enable, 64, 0), -XEN_EINVAL);
	cr_assert_eq(sim_hc(__HYPERVISOR_vm_assist, 2, 3, 0), -XEN_ENOSYS);
}

Test(misc, physdev)
{
	struct physdev_set_iopl iopl = {1};
	struct physdev_op old = {.cmd = PHYSDEVOP_set_iopl, .u.set_iopl = {3}};

	setup(1, 1);
	cr_assert_eq(sim_hc(33, PHYSDEVOP_set_iopl, (uint64_t)&iopl, 0), 0);
	cr_assert_eq(d->vcpu[0]->arch.iopl, 1);
	iopl.iopl = 4;
	cr_assert_eq(sim_hc(33, PHYSDEVOP_set_iopl, (uint64_t)&iopl, 0), -XEN_EINVAL);
	cr_assert_eq(sim_hc(__HYPERVISOR_physdev_op_compat, (uint64_t)&old, 0, 0), 0);
	cr_assert_eq(d->vcpu[0]->arch.iopl, 3);
	cr_assert_eq(sim_hc(33, PHYSDEVOP_map_pirq, (uint64_t)&iopl, 0), -XEN_EPERM);
	cr_assert_eq(sim_hc(33, PHYSDEVOP_pirq_eoi_gmfn_v2, (uint64_t)&iopl, 0), -XEN_ENOSYS);
	cr_assert_eq(sim_hc(__HYPERVISOR_grant_table_op, 0, 0, 0), -XEN_ENOSYS);
	cr_assert_eq(sim_hc(__HYPERVISOR_domctl, 0, 0, 0), -XEN_EPERM);
	cr_assert_eq(sim_hc(__HYPERVISOR_sysctl, 0, 0, 0), -XEN_EPERM);
	cr_assert_eq(sim_hc(__HYPERVISOR_platform_op, 0, 0, 0), -XEN_EPERM);
}
