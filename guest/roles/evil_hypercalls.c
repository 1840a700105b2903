/* SPDX-License-Identifier: MIT */
/*
 * Every hypercall 0 to 63 with random arguments. Left out is only what would
 * rightly end or stop the caller: shutdown, blocking for ever, iret, and
 * replacing its own live page tables. What it may break of its own (trap
 * table, callbacks, GDT) is put back after each call; events stay masked.
 *
 * Small numbers up to 15 are pages this guest does not use, so they may be
 * unmapped, given back or pinned.
 */
#include "roles/evil.h"
#include "rt/cpu.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include "rt/mem.h"
#include "rt/role.h"
#include "rt/trap.h"

#define SCRATCH_WORDS 512

/* Each vCPU's: operands, and a mapped page that nobody needs. */
static uint64_t *scratches[MAX_VCPUS];
static unsigned long victims[MAX_VCPUS];
#define scratch (scratches[this_cpu()->id])
#define victim_va (victims[this_cpu()->id])

/* A number none of whose pages is ours above the 16, as pfn, mfn or address. */
static bool harmless(uint64_t v)
{
	return v < 16 || (v & 0xffffffffff) >= nr_pages + NO_MFN;
}

/* One bit; not one that as a page or as an address is a page of ours: mmu_update writes there. */
static uint64_t one_bit(void)
{
	uint64_t v = 1UL << rnd() % 64;

	return harmless(v) && harmless(v >> PAGE_SHIFT) ? v : 1UL << 40;
}

static uint64_t number(void)
{
	switch (rnd() % 10) {
	case 0:
		return 0;
	case 1:
	case 2:
		return rnd() % 16;
	case 3:
		return ~0UL - rnd() % 16;
	case 4:
		return one_bit();
	case 5:
		return HYPERVISOR_VIRT_START + rnd() % (8UL << 40);
	case 6:
		return 0x8000000000000000UL | rnd();
	case 7:
		return DOMID_SELF + rnd() % 6;
	case 8:
		return rnd() % 16 << PAGE_SHIFT | rnd() % 8;
	default:
		return rnd() | NO_MFN << PAGE_SHIFT;
	}
}

static uint64_t argument(void)
{
	switch (rnd() % 4) {
	case 0:
	case 1:
		return (unsigned long)(scratch + rnd() % 64);
	case 2:
		return rnd() % 32;
	default:
		return number();
	}
}

static void fill(void)
{
	for (unsigned int i = 0; i < SCRATCH_WORDS; i++)
		scratch[i] = number();
}

/* True if the call may be made: it can't stop or end us by right. */
static bool allowed(unsigned int nr, uint64_t *a)
{
	uint32_t cmd = (uint32_t)a[0];
	bool dom0 = start_info->flags & SIF_INITDOMAIN;

	switch (nr) {
	case __HYPERVISOR_iret:
		return false;
	case __HYPERVISOR_sched_op_compat:
	case __HYPERVISOR_sched_op:
		/* block, shutdown, poll without a timeout, remote shutdown, code, watchdog */
		return cmd == SCHEDOP_yield || cmd > SCHEDOP_watchdog;
	case __HYPERVISOR_vcpu_op:
		/* Our own vCPU must not go down, nor its areas or our stack be overwritten. */
		return cmd != VCPUOP_down && cmd != VCPUOP_register_vcpu_info &&
		       cmd != VCPUOP_initialise && cmd != VCPUOP_up && cmd != VCPUOP_send_nmi;
	case __HYPERVISOR_update_va_mapping:
	case __HYPERVISOR_update_va_mapping_otherdomain:
		/* Not our own image, stacks or scratch. */
		if (a[0] >= DMAP_BASE && a[0] < TEST_BASE)
			a[0] = victim_va;
		return a[0] < KERNEL_BASE || a[0] >= KERNEL_BASE + (nr_pages << PAGE_SHIFT);
	case __HYPERVISOR_mmuext_op:
		for (unsigned int i = 0; i < SCRATCH_WORDS; i++)
			if ((uint32_t)scratch[i] == MMUEXT_NEW_BASEPTR)
				scratch[i] = 77;
		return true;
	case __HYPERVISOR_memory_op:
		/* Extents of many pages could start at a small number and end in our image. */
		for (unsigned int i = 0; i < SCRATCH_WORDS; i++)
			if (!harmless(scratch[i]))
				scratch[i] = NO_MFN + rnd() % 16;
		if (rnd() % 4) {
			struct xen_memory_reservation *r = (void *)scratch;

			set_xen_guest_handle(r->extent_start, scratch + 64);
			r->nr_extents = rnd() % 8 ? rnd() % 16 : ~0UL >> rnd() % 4;
			r->extent_order = rnd() % 8 ? 0 : 63;
			r->domid = DOMID_SELF;
			a[1] = (unsigned long)scratch;
		}
		return !dom0 || cmd <= XENMEM_maximum_reservation;
	case __HYPERVISOR_set_gdt:
	case __HYPERVISOR_update_descriptor:
		return true;
	case __HYPERVISOR_stack_switch:
	case __HYPERVISOR_set_segment_base:
		return cmd != SEGBASE_GS_KERNEL;
	case __HYPERVISOR_event_channel_op:
	case __HYPERVISOR_event_channel_op_compat:
		return cmd != EVTCHNOP_reset && cmd != EVTCHNOP_init_control;
	case __HYPERVISOR_console_io:
		/* Garbage on the console would garble the test's own output. */
		return cmd != CONSOLEIO_write || (uint32_t)a[1] == 0;
	case __HYPERVISOR_multicall:
		/* Its entries are filtered the same way, with one level of them. */
		for (unsigned int i = 0; i < SCRATCH_WORDS; i += 8) {
			unsigned int op = (unsigned int)(rnd() % 64);
			uint64_t arg[6];

			for (int k = 0; k < 6; k++)
				arg[k] = argument();
			if (op == __HYPERVISOR_multicall || !allowed(op, arg))
				op = 63;
			scratch[i] = op;
			memcpy(&scratch[i + 2], arg, sizeof(arg));
		}
		if (rnd() % 8) {
			a[0] = (unsigned long)scratch;
			a[1] = rnd() % (SCRATCH_WORDS / 8);
		} else {
			a[0] = HYPERVISOR_VIRT_START + (rnd() & 0xffffffffff8);
		}
		return true;
	case __HYPERVISOR_platform_op:
	case __HYPERVISOR_physdev_op:
	case __HYPERVISOR_physdev_op_compat:
	case __HYPERVISOR_sysctl:
	case __HYPERVISOR_domctl:
	case __HYPERVISOR_kexec_op:
	case __HYPERVISOR_arch_0:
	case __HYPERVISOR_xenoprof_op:
	case __HYPERVISOR_nmi_op:
		/* The initial domain may really do these to the machine. */
		return !dom0;
	default:
		return true;
	}
}

static void restore(unsigned int nr)
{
	switch (nr) {
	case __HYPERVISOR_set_trap_table:
	case __HYPERVISOR_set_callbacks:
	case __HYPERVISOR_callback_op:
	case __HYPERVISOR_multicall:
		trap_init();
		/* fall through */
	default:
		HC2(set_debugreg, 7, 0);
		HC1(fpu_taskswitch, 0);
		HC2(stack_switch, FLAT_KERNEL_SS, this_cpu()->trap_stack);
	}
}

void evil_hypercalls_init(void)
{
	unsigned int id = this_cpu()->id;

	victims[id] = (unsigned long)page_alloc();
	scratches[id] = pages_alloc(2); /* a struct at its end may reach into the second page */
}

unsigned int evil_hypercall(long *rc, bool trace)
{
	unsigned int nr = (unsigned int)(rnd() % 64);
	uint64_t a[5];

	fill();
	for (unsigned int k = 0; k < 5; k++)
		a[k] = argument();
	if (!allowed(nr, a))
		return 64;
	if (trace)
		printf("mini: hypercall %u %lx %lx %lx %lx\n", nr, a[0], a[1], a[2], a[3]);
	*rc = hypercall(nr, a[0], a[1], a[2], a[3], a[4]);
	restore(nr);
	return nr;
}

void evil_hypercalls(void)
{
	unsigned long n = arg_num("iters", 20000), made = 0, failed = 0;
	bool trace = arg_num("trace", 0);
	long rc = 0;

	evil_hypercalls_init();
	events_mask();
	for (unsigned long i = 0; i < n; i++) {
		if (evil_hypercall(&rc, trace) == 64)
			continue;
		made++;
		failed += rc < 0;
	}
	events_unmask();
	printf("mini: evil hypercalls made=%lu refused=%lu\n", made, failed);
	CHECK(failed, "nothing was refused");
	CHECK(HC3(console_io, CONSOLEIO_write, 64, 0xffff830000000000UL) < 0,
	      "printed the hypervisor's memory");
}
