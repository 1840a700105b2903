/* SPDX-License-Identifier: MIT */
/*
 * Domains made, destroyed and pinned by the control stream on real threads (for TSan), in the
 * middle of what their vCPUs do: go down and come up, set timers, sleep, send events to each other
 * and to other domains, give memory up and take it back, crash and power off. When all are gone,
 * everything they held has come back.
 */
#include "tests/dom_threads.h"

#include <xen/event_channel.h>
#include <xen/memory.h>
#include <xen/sched.h>
#include <xen/vcpu.h>

#include "core/control.h"
#include "core/create.h"
#include "tests/seed.h"

enum { PCPUS = 3, VCPUS = 4, BATCH = 6, BATCHES = 12, NAMES = 12, PORTS = 6 };

/* What a vCPU has done; a slot per domain id and vCPU, anew for each domain. */
struct guest_vcpu {
	char name[32];
	uint64_t rng, steps, last; /* last: it ends the domain then */
	evtchn_port_t port[PORTS];
};

static struct guest_vcpu guests[MAX_DOMAINS + 1][VCPUS];
static _Atomic uint64_t operations;
static uint64_t seed0;

static uint64_t hash(const char *s)
{
	uint64_t h = seed0;

	for (; *s; s++)
		h = (h ^ (uint8_t)*s) * 0x100000001b3ULL;
	return h;
}

static long vcpu_op(unsigned cmd, unsigned id, const void *arg)
{
	return sim_hc(__HYPERVISOR_vcpu_op, cmd, id, (uint64_t)arg);
}

static void nap(unsigned how)
{
	uint64_t until = arch_now_ns() + 50 * NS_PER_US;
	struct sched_poll poll = {.timeout = until};

	if (how) {
		sim_hc(__HYPERVISOR_set_timer_op, until, 0, 0);
		sim_hc(__HYPERVISOR_sched_op, SCHEDOP_block, 0, 0);
	} else {
		sim_hc(__HYPERVISOR_sched_op, SCHEDOP_poll, (uint64_t)&poll, 0);
	}
}

/* Ports of its own, some of them linked with those of other domains, who may be ending. */
static void event_step(struct guest_vcpu *g)
{
	unsigned i = (unsigned)(seed_next(&g->rng) % PORTS);
	struct evtchn_alloc_unbound a = {.dom = DOMID_SELF,
					 .remote_dom = (domid_t)(seed_next(&g->rng) % 12)};
	struct evtchn_bind_interdomain b = {.remote_dom = (domid_t)(seed_next(&g->rng) % 12),
					    .remote_port =
						    (evtchn_port_t)(seed_next(&g->rng) % 30)};
	struct evtchn_close c = {g->port[i]};
	struct evtchn_send s = {g->port[i]};

	if (g->port[i] && seed_next(&g->rng) % 4) {
		sim_hc(__HYPERVISOR_event_channel_op, EVTCHNOP_send, (uint64_t)&s, 0);
	} else if (g->port[i]) {
		sim_hc(__HYPERVISOR_event_channel_op, EVTCHNOP_close, (uint64_t)&c, 0);
		g->port[i] = 0;
	} else if (seed_next(&g->rng) % 2) {
		if (!sim_hc(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, (uint64_t)&a, 0))
			g->port[i] = a.port;
	} else if (!sim_hc(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_interdomain, (uint64_t)&b,
			   0)) {
		g->port[i] = b.local_port;
	}
}

/* The last pages: nothing that the builder put there. */
static void memory_step(struct domain *d, struct guest_vcpu *g)
{
	xen_pfn_t pfn = d->mm.max_pages - 1 - seed_next(&g->rng) % 40;
	struct xen_memory_reservation r = {.nr_extents = 1, .domid = DOMID_SELF};

	set_xen_guest_handle(r.extent_start, &pfn);
	sim_hc(__HYPERVISOR_memory_op,
	       seed_next(&g->rng) % 2 ? XENMEM_decrease_reservation : XENMEM_populate_physmap,
	       (uint64_t)&r, 0);
}

static void end_domain(struct guest_vcpu *g)
{
	struct sched_shutdown sd = {seed_next(&g->rng) % 2 ? SHUTDOWN_poweroff : SHUTDOWN_crash};

	sim_hc(__HYPERVISOR_sched_op, SCHEDOP_shutdown, (uint64_t)&sd, 0);
}

static void prepare(struct vcpu *v, struct guest_vcpu *g)
{
	evtchn_port_t port;

	memset(g, 0, sizeof(*g));
	memcpy(g->name, v->domain->name, sizeof(g->name));
	g->rng = hash(g->name) + v->id;
	seed_next(&g->rng);
	g->last = seed_next(&g->rng) % 4 ? UINT64_MAX : 50 + seed_next(&g->rng) % 400;
	evtchn_bind_virq(v->domain, VIRQ_TIMER, v->id, &port);
}

static void guest_step(struct vcpu *v)
{
	static __thread struct vcpu_guest_context ctx;
	struct vcpu_set_periodic_timer period = {1 * NS_PER_MS};
	struct domain *d = v->domain;
	struct guest_vcpu *g = &guests[d->id][v->id];
	bool keeper = strcmp(d->name, "keeper") == 0;
	unsigned other;

	sim_take_events(v);
	if (strcmp(g->name, d->name) != 0)
		prepare(v, g);
	atomic_fetch_add_explicit(&operations, 1, memory_order_relaxed);
	if (keeper) {
		nap(1);
		return;
	}
	if (g->steps++ == g->last) {
		end_domain(g);
		return;
	}
	other = (unsigned)(seed_next(&g->rng) % VCPUS);
	switch (seed_next(&g->rng) % 12) {
	case 0:
	case 1:
		vcpu_op(VCPUOP_initialise, other, &ctx);
		vcpu_op(VCPUOP_up, other, NULL);
		break;
	case 2:
		if (other)
			vcpu_op(VCPUOP_down, other, NULL);
		break;
	case 3:
		vcpu_op(VCPUOP_set_periodic_timer, other, &period);
		break;
	case 4:
		vcpu_op(VCPUOP_stop_periodic_timer, other, NULL);
		break;
	case 5:
	case 6:
	case 7:
		event_step(g);
		break;
	case 8:
	case 9:
		memory_step(d, g);
		break;
	case 10:
		sim_hc(__HYPERVISOR_sched_op, SCHEDOP_yield, 0, 0);
		break;
	default:
		nap(seed_next(&g->rng) % 2);
		break;
	}
}

/* ---- the commands, on pCPU 0 ---- */

static struct {
	uint64_t rng;
	unsigned batch, next_id;
	size_t read; /* of the records, up to here */
	unsigned waiting;
	enum { STORM, QUIET, LAST } phase;
	char text[BATCH * 80];
} cmd;

static void feed(void)
{
	char *p = cmd.text;

	for (unsigned i = 0; i < BATCH; i++) {
		unsigned n = (unsigned)(seed_next(&cmd.rng) % NAMES),
			 what = (unsigned)(seed_next(&cmd.rng) % 8);

		p += sprintf(p, "ctl %u ", ++cmd.next_id);
		if (what < 4)
			p += sprintf(p, "create c%u keeper n=%u\n", n, cmd.next_id);
		else if (what < 6)
			p += sprintf(p, "destroy c%u\n", n);
		else
			p += sprintf(p, "pin c%u %s\n", n, what == 6 ? "all" : "1-2");
	}
	cmd.waiting = BATCH;
	host_console_input(1, cmd.text);
}

static void end_made(void)
{
	for (unsigned i = 1; i <= MAX_DOMAINS; i++) {
		struct domain *d = domain_by_id((domid_t)i);

		if (d && d->name[0] == 'c')
			domain_end(d, END_DESTROYED, "the end of the storm");
	}
}

static void count_answers(void)
{
	size_t len = host_console_len(1);
	char *p = sim_records + cmd.read, *end;

	sim_records[MIN(len, sizeof(sim_records) - 1)] = 0;
	while ((end = strchr(p, '\n'))) {
		*end = 0;
		if (cmd.waiting && strstr(p, "\"ev\":\"ctl\""))
			cmd.waiting--;
		*end = '\n';
		p = end + 1;
	}
	cmd.read = (size_t)(p - sim_records);
}

static void command_step(void)
{
	count_answers();
	if (cmd.waiting)
		return;
	switch (cmd.phase) {
	case STORM:
		if (cmd.batch++ < BATCHES)
			feed();
		else
			cmd.phase = QUIET;
		break;
	case QUIET:
		end_made();
		if (create_alive())
			break;
		cmd.phase = LAST;
		host_console_input(1, "ctl 1 destroy keeper\n");
		break;
	default:
		break;
	}
}

Test(create_storm, churn, .timeout = 280)
{
	static const char conf[] = "guest name=keeper kernel=k0 mem=2M vcpus=4\n";
	static struct dom_threads t = {
		.pcpus = PCPUS, .guest_step = guest_step, .pcpu0_step = command_step};

	seed0 = seed_from_env();
	sim_init(1, 32768);
	t.mods[0] = sim_module(CONFIG_MODULE, conf, strlen(conf));
	t.mods[1] = sim_kernel("k0", false);
	cmd.rng = seed0;
	cmd.next_id = 0;
	dom_threads_run(&t);
	printf("operations=%lu\n", (unsigned long)atomic_load(&operations));
	cr_assert(atomic_load(&t.status) == POWEROFF_OK || create_failures(), "%s", sim_records);
	cr_assert_eq(stats_leaks(), 0);
	cr_assert_eq(create_alive(), 0);
	cr_assert(strstr(sim_records, "\"ok\":true"));
	cr_assert(strstr(sim_records, "\"state\":\"destroyed\""));
	cr_assert(strstr(sim_records, "\"leaked_frames\":0}"));
}
