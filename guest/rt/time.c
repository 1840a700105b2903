/* SPDX-License-Identifier: MIT */
/* pvclock arithmetic as described at struct vcpu_time_info in xen/xen.h. */
#include "rt/time.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include "rt/role.h"
#include <stdatomic.h>

uint64_t time_read(const volatile struct vcpu_time_info *t)
{
	uint32_t v;
	uint64_t delta, ns;

	do {
		v = t->version;
		barrier();
		delta = rdtsc() - t->tsc_timestamp;
		if (t->tsc_shift >= 0)
			delta <<= t->tsc_shift;
		else
			delta >>= -t->tsc_shift;
		ns = t->system_time +
		     (uint64_t)(((unsigned __int128)delta * t->tsc_to_system_mul) >> 32);
		barrier();
	} while ((v & 1) || v != t->version);
	return ns;
}

uint64_t time_ns(void)
{
	/*
	 * Unmasked, an upcall may only delay us; vCPUs do not migrate between
	 * vcpu_info, so no more protection is needed.
	 */
	return time_read(&this_cpu()->vi->time);
}

uint64_t wallclock_base(void)
{
	const volatile struct shared_info *s = shared_info;
	uint32_t v;
	uint64_t sec, ns;

	do {
		v = s->wc_version;
		barrier();
		sec = s->wc_sec | (uint64_t)s->wc_sec_hi << 32;
		ns = s->wc_nsec;
		barrier();
	} while ((v & 1) || v != s->wc_version);
	return sec * 1000000000ULL + ns;
}

static void timer_event(uint32_t port, void *arg)
{
	(void)port;
	(void)arg;
	atomic_fetch_add(&this_cpu()->timer_count, 1);
}

void timer_init(void)
{
	struct cpu *c = this_cpu();
	long port;

	/* The ABI starts a vCPU with a 100 Hz tick; nobody here wants it. */
	hc_vcpu(VCPUOP_stop_periodic_timer, c->id, NULL);
	if (c->timer_port)
		return;
	port = event_bind_virq(VIRQ_TIMER, c->id);
	if (port < 0)
		panic("bind VIRQ_TIMER vcpu %u: %ld", c->id, port);
	c->timer_port = (uint32_t)port;
	event_handle(c->timer_port, timer_event, NULL);
	event_unmask(c->timer_port);
}

long timer_arm(uint64_t abs_ns, uint32_t flags)
{
	struct vcpu_set_singleshot_timer t = {.timeout_abs_ns = abs_ns, .flags = flags};

	return hc_vcpu(VCPUOP_set_singleshot_timer, this_cpu()->id, &t);
}

void block(void)
{
	hc_sched(SCHEDOP_block, NULL);
}

void sleep_until(uint64_t abs_ns)
{
	while (time_ns() < abs_ns) {
		bool was = events_save_mask();

		/* Re-arm each time: another event may have ended the block. */
		timer_arm(abs_ns, 0);
		if (time_ns() < abs_ns)
			block();
		events_restore_mask(was);
	}
}
