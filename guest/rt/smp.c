/* SPDX-License-Identifier: MIT */
/* vCPU bring-up by VCPUOP_initialise, and a call mechanism on top. */
#include "rt/smp.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include "rt/mem.h"
#include "rt/role.h"
#include "rt/time.h"
#include "rt/trap.h"
#include <stdatomic.h>

static struct cpu boot_cpu __attribute__((aligned(4096)));
struct cpu *cpus[MAX_VCPUS];
unsigned int nr_cpus;

extern char ap_start[];

_Static_assert(sizeof(struct cpu) <= PAGE_SIZE, "one page per vCPU");

void smp_init(void)
{
	struct cpu *c = &boot_cpu;

	c->self = c;
	c->vi = &c->vcpu_info; /* until shared_info is mapped */
	c->vi->evtchn_upcall_mask = 1;
	c->up = true;
	cpus[0] = c;
	HC2(set_segment_base, SEGBASE_GS_KERNEL, c);
	for (nr_cpus = 1; nr_cpus < MAX_VCPUS; nr_cpus++)
		if (hc_vcpu(VCPUOP_is_up, nr_cpus, NULL) < 0)
			break;
}

static void register_areas(struct cpu *c)
{
	struct vcpu_register_vcpu_info r = {
		.mfn = virt_to_mfn(c),
		.offset = (uint32_t)((unsigned long)&c->vcpu_info & (PAGE_SIZE - 1)),
	};
	struct vcpu_register_runstate_memory_area a = {.addr.v = &c->runstate};
	long rc;

	rc = hc_vcpu(VCPUOP_register_vcpu_info, c->id, &r);
	if (rc)
		panic("register_vcpu_info %u: %ld", c->id, rc);
	c->vi = &c->vcpu_info;
	rc = hc_vcpu(VCPUOP_register_runstate_memory_area, c->id, &a);
	if (rc)
		panic("register runstate %u: %ld", c->id, rc);
}

void smp_register_boot(void)
{
	struct cpu *c = &boot_cpu;
	long rc;

	c->trap_stack = (unsigned long)pages_alloc(2) + 2 * PAGE_SIZE;
	rc = HC2(stack_switch, FLAT_KERNEL_SS, c->trap_stack);
	if (rc)
		panic("stack_switch: %ld", rc);
	register_areas(c);
}

void spin_wait(unsigned long *spins)
{
	cpu_relax();
	if (++*spins % 256 == 0)
		hc_sched(SCHEDOP_yield, NULL);
}

/* From entry.S. */
void ap_main(struct cpu *c);
void ap_main(struct cpu *c)
{
	atomic_store((_Atomic bool *)&c->up, true);
	timer_init();
	for (;;) {
		void (*fn)(void *);

		events_mask();
		while (!(fn = atomic_load(&c->work))) {
			block();
			events_mask();
		}
		events_unmask();
		fn(c->work_arg);
		atomic_store(&c->work, NULL);
	}
}

static void fill_context(struct vcpu_guest_context *g, struct cpu *c)
{
	g->flags = VGCF_IN_KERNEL;
	g->user_regs.rip = (unsigned long)ap_start;
	g->user_regs.cs = FLAT_KERNEL_CS;
	g->user_regs.ss = FLAT_KERNEL_SS;
	g->user_regs.rflags = 0x202;
	g->user_regs.rsp = c->stack_top;
	g->user_regs.rdi = (unsigned long)c;
	trap_table_indexed(g->trap_ctxt);
	g->kernel_ss = FLAT_KERNEL_SS;
	g->kernel_sp = c->trap_stack;
	g->event_callback_eip = (unsigned long)event_callback;
	g->failsafe_callback_eip = (unsigned long)failsafe_callback;
	g->syscall_callback_eip = (unsigned long)syscall_callback;
	g->flags |= VGCF_syscall_disables_events | VGCF_failsafe_disables_events;
	g->ctrlreg[0] = 0x80050033;
	g->ctrlreg[3] = xen_pfn_to_cr3(pfn_to_mfn(kernel_l4));
	g->gs_base_kernel = (unsigned long)c;
}

static void up_one(unsigned int id)
{
	struct vcpu_guest_context *g = pages_alloc(2);
	struct cpu *c = page_alloc();
	unsigned long spins = 0;
	long rc;

	_Static_assert(sizeof(*g) <= 2 * PAGE_SIZE, "context in two pages");
	c->self = c;
	c->id = id;
	c->stack_top = (unsigned long)pages_alloc(4) + 4 * PAGE_SIZE;
	c->trap_stack = (unsigned long)pages_alloc(2) + 2 * PAGE_SIZE;
	cpus[id] = c;
	register_areas(c);
	c->vi->evtchn_upcall_mask = 1;
	fill_context(g, c);
	rc = hc_vcpu(VCPUOP_initialise, id, g);
	if (rc)
		panic("VCPUOP_initialise %u: %ld", id, rc);
	rc = event_bind_ipi(id);
	if (rc < 0)
		panic("bind_ipi %u: %ld", id, rc);
	c->wake_port = (uint32_t)rc;
	event_unmask(c->wake_port);
	rc = hc_vcpu(VCPUOP_up, id, NULL);
	if (rc)
		panic("VCPUOP_up %u: %ld", id, rc);
	while (!atomic_load((_Atomic bool *)&c->up))
		spin_wait(&spins);
	page_free(g);
	page_free((char *)g + PAGE_SIZE);
}

void smp_up_all(void)
{
	for (unsigned int i = 1; i < nr_cpus; i++)
		if (!cpus[i])
			up_one(i);
}

void smp_call(unsigned int cpu, void (*fn)(void *), void *arg)
{
	struct cpu *c = cpus[cpu];

	smp_wait(cpu);
	c->work_arg = arg;
	atomic_store(&c->work, fn);
	event_send(c->wake_port);
}

void smp_wait(unsigned int cpu)
{
	unsigned long spins = 0;

	while (atomic_load(&cpus[cpu]->work))
		spin_wait(&spins);
}

void smp_call_all(void (*fn)(void *), void *arg)
{
	for (unsigned int i = 1; i < nr_cpus; i++)
		smp_call(i, fn, arg);
	fn(arg);
	for (unsigned int i = 1; i < nr_cpus; i++)
		smp_wait(i);
}

void runstate_read(uint64_t time[4])
{
	struct vcpu_runstate_info r;
	long rc = hc_vcpu(VCPUOP_get_runstate_info, this_cpu()->id, &r);

	/* Not the registered area: Xen leaves that stale over a block that switches to nobody. */
	if (rc)
		panic("get_runstate_info: %ld", rc);
	for (int i = 0; i < 4; i++)
		time[i] = r.time[i];
}
