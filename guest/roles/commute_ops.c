/* SPDX-License-Identifier: MIT */
/* The table of operations of commute.h, and those that are not about memory. */
#include "roles/commute.h"
#include "rt/console.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include "rt/role.h"
#include "rt/smp.h"
#include "rt/time.h"
#include "rt/trap.h"

#define FAR_NS 3600000000000ULL
#define NAP_NS 20000ULL
#define SCAN_NS 300000ULL
#define WORDS_PER_LINE 16 /* FIFO event words */

static void null_run(struct side *s, void *state, unsigned int i)
{
	(void)s, (void)state, (void)i;
	hc_version(XENVER_version, NULL);
}

static void multicall_run(struct side *s, void *state, unsigned int i)
{
	struct multicall_entry e[8];

	(void)s, (void)state, (void)i;
	for (unsigned int k = 0; k < ARRAY_LEN(e); k++)
		e[k] = (struct multicall_entry){.op = __HYPERVISOR_xen_version,
						.args = {XENVER_version, 0}};
	CHECK_EQ(hc_multicall(e, ARRAY_LEN(e)), 0, "multicall");
}

/* ---- events ---- */

static void count_event(uint32_t port, void *arg)
{
	(void)port;
	*(unsigned long *)arg += 1;
}

struct channel {
	unsigned long got;
	uint32_t port;
};

static uint32_t bind_port(unsigned int vcpu)
{
	long port = event_bind_ipi(vcpu);

	if (port < 0)
		panic("bind IPI: %ld", port);
	return (uint32_t)port;
}

static void *use_port(uint32_t port)
{
	struct channel *c = page_alloc();

	c->port = port;
	event_handle(c->port, count_event, &c->got);
	event_unmask(c->port);
	return c;
}

/* A port whose event word has a line of its own. */
static void *far_port(unsigned int vcpu)
{
	uint32_t port;

	do
		port = bind_port(vcpu);
	while (port % WORDS_PER_LINE);
	return use_port(port);
}

static void *send_init(struct side *s)
{
	(void)s;
	return far_port(this_cpu()->id);
}

/* The ports of the two sides are neighbours: one vCPU binds both. */
static void *near_init(struct side *s)
{
	static uint32_t others;
	uint32_t port = s->id && others ? others : bind_port(this_cpu()->id);

	if (!commute_two && !s->id) {
		others = bind_port(1);
		CHECK_EQ(others, port + 1, "the next port");
	}
	return use_port(port);
}

static void *wake_init(struct side *s)
{
	return far_port(s->target);
}

static void send_run(struct side *s, void *state, unsigned int i)
{
	struct channel *c = state;

	(void)s, (void)i;
	CHECK_EQ(event_send(c->port), 0, "send");
}

/* ---- time and scheduling ---- */

static void timer_run(struct side *s, void *state, unsigned int i)
{
	(void)s, (void)state;
	CHECK_EQ(HC1(set_timer_op, time_ns() + FAR_NS + i * 1000), 0, "set_timer_op");
}

static void timer_end(struct side *s, void *state)
{
	(void)s, (void)state;
	HC1(set_timer_op, 0);
}

static void yield_run(struct side *s, void *state, unsigned int i)
{
	(void)s, (void)state, (void)i;
	CHECK_EQ(hc_sched(SCHEDOP_yield, NULL), 0, "yield");
}

static void nap(uint64_t ns)
{
	events_mask();
	timer_arm(time_ns() + ns, 0);
	block();
	events_unmask();
}

static void block_run(struct side *s, void *state, unsigned int i)
{
	(void)s, (void)state, (void)i;
	nap(NAP_NS);
}

/* Long enough for this pCPU's scanner to take a batch and finish an earlier one. */
static void scan_run(struct side *s, void *state, unsigned int i)
{
	(void)s, (void)state;
	if (i % 8 == 0)
		nap(SCAN_NS);
}

static void other_run(struct side *s, void *state, unsigned int i)
{
	struct vcpu_runstate_info r;

	(void)state, (void)i;
	CHECK_EQ(hc_vcpu(VCPUOP_is_up, s->target, NULL), 1, "is_up");
	CHECK_EQ(hc_vcpu(VCPUOP_get_runstate_info, s->target, &r), 0, "get_runstate_info");
}

static void up_run(struct side *s, void *state, unsigned int i)
{
	(void)state, (void)i;
	CHECK_EQ(hc_vcpu(VCPUOP_up, s->target, NULL), 0, "up");
}

/* ---- the processor ---- */

static void state_run(struct side *s, void *state, unsigned int i)
{
	(void)s, (void)state;
	CHECK_EQ(HC2(stack_switch, FLAT_KERNEL_SS, this_cpu()->trap_stack), 0, "stack_switch");
	CHECK_EQ(HC1(fpu_taskswitch, i % 2), 0, "fpu_taskswitch");
	CHECK_EQ(HC2(set_segment_base, SEGBASE_FS, i * 64), 0, "set_segment_base");
}

static void state_end(struct side *s, void *state)
{
	(void)s, (void)state;
	HC1(fpu_taskswitch, 0);
	HC2(set_segment_base, SEGBASE_FS, 0);
}

static void trap_run(struct side *s, void *state, unsigned int i)
{
	(void)s, (void)state, (void)i;
	CHECK_EQ(PROBE("ud2", "r"(0)), FAULT(TRAP_UD), "ud2");
}

static void privop_run(struct side *s, void *state, unsigned int i)
{
	unsigned long cr0;

	(void)s, (void)state, (void)i;
	__asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
	CHECK(cr0 & 1, "CR0 %lx", cr0);
}

static void flush_run(struct side *s, void *state, unsigned int i)
{
	(void)s, (void)state;
	CHECK_EQ(mmuext_simple(i % 2 ? MMUEXT_INVLPG_LOCAL : MMUEXT_TLB_FLUSH_LOCAL, TEST_BASE), 0,
		 "flush");
}

static void flush_all_run(struct side *s, void *state, unsigned int i)
{
	(void)s, (void)state;
	CHECK_EQ(mmuext_simple(i % 2 ? MMUEXT_INVLPG_ALL : MMUEXT_TLB_FLUSH_ALL, TEST_BASE), 0,
		 "flush everywhere");
}

static void console_run(struct side *s, void *state, unsigned int i)
{
	(void)s, (void)state;
	printf("commute: %u\n", i);
}

static void bind_run(struct side *s, void *state, unsigned int i)
{
	static long port[COMMUTE_SIDES][16];

	(void)state;
	if (i % 2 == 0)
		port[s->id][0] = event_bind_ipi(s->target);
	else
		CHECK_EQ(event_close((uint32_t)port[s->id][0]), 0, "close");
	CHECK(port[s->id][0] > 0, "bind: %ld", port[s->id][0]);
}

#define BOTH (IN_ONE | IN_TWO)

const struct commute_op commute_ops[] = {
	{"version", BOTH, NULL, NULL, NULL, null_run},
	{"multicall", BOTH, NULL, NULL, NULL, multicall_run},
	{"mmu_update", BOTH, map_init, NULL, NULL, map_run},
	{"mmu_update-32", BOTH, map_init, NULL, NULL, batch_run},
	{"update_va", BOTH, map_init, NULL, NULL, va_run},
	{"pt-store", BOTH, map_init, NULL, NULL, store_run},
	{"first-touch", BOTH, fresh_init, fault_begin, NULL, fault_run},
	{"cow-break", BOTH, fresh_init, cow_begin, NULL, fault_run},
	{"reservation", BOTH, reserve_init, NULL, NULL, reserve_run},
	{"pin-empty", BOTH, pin_init, NULL, NULL, pin_run},
	{"pin-full", BOTH, pin_full_init, NULL, NULL, pin_run},
	{"baseptr", BOTH, base_init, NULL, base_end, base_run},
	{"flush-local", BOTH, NULL, NULL, NULL, flush_run},
	{"flush-all", IN_TWO, NULL, NULL, NULL, flush_all_run},
	{"send-self", BOTH, send_init, NULL, NULL, send_run},
	{"send-near", BOTH, near_init, NULL, NULL, send_run},
	{"send-vcpu", BOTH, wake_init, NULL, NULL, send_run},
	{"bind-close", BOTH, NULL, NULL, NULL, bind_run},
	{"set_timer", BOTH, NULL, NULL, timer_end, timer_run},
	{"yield", BOTH, NULL, NULL, NULL, yield_run},
	{"block", BOTH, NULL, NULL, NULL, block_run},
	{"vcpu_op", BOTH, NULL, NULL, NULL, other_run},
	{"vcpu_up", BOTH, NULL, NULL, NULL, up_run},
	{"cpu-state", BOTH, NULL, NULL, state_end, state_run},
	{"trap", BOTH, NULL, NULL, NULL, trap_run},
	{"privop", BOTH, NULL, NULL, NULL, privop_run},
	{"console", IN_TWO, NULL, NULL, NULL, console_run},
	{"scanner", BOTH, NULL, NULL, NULL, scan_run},
	{"same-entry", IN_ONE | IN_ITSELF, same_init, NULL, NULL, same_run},
};
const unsigned int commute_nr_ops = ARRAY_LEN(commute_ops);
