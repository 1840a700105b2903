/* SPDX-License-Identifier: MIT */
/* Hypercalls that touch neither page tables nor events. */
#include "roles/bench.h"
#include "rt/cpu.h"
#include "rt/mem.h"
#include "rt/role.h"
#include "rt/time.h"
#include <xen/io/console.h>

#define NULL_CALLS 32

static void unknown(void)
{
	bench_rc |= BENCH_HC(46, 0, 0, 0, 0) != -XEN_ENOSYS;
}

static void version(void)
{
	bench_rc |= BENCH_HC2(xen_version, XENVER_version, 0) <= 0;
}

static struct multicall_entry calls[NULL_CALLS];

static void calls_start(void)
{
	for (unsigned int i = 0; i < NULL_CALLS; i++)
		calls[i] = (struct multicall_entry){.op = __HYPERVISOR_xen_version,
						    .args = {XENVER_version}};
}

static void multi(void)
{
	bench_rc |= BENCH_HC2(multicall, calls, NULL_CALLS);
}

static void yield(void)
{
	bench_rc |= BENCH_HC2(sched_op, SCHEDOP_yield, 0);
}

static void timer_set(void)
{
	bench_rc |= BENCH_HC2(set_timer_op, 1UL << 60, 0);
}

static void timer_stop(void)
{
	bench_rc |= BENCH_HC2(set_timer_op, 0, 0);
}

static struct vcpu_set_singleshot_timer far = {.timeout_abs_ns = 1UL << 60};

static void singleshot(void)
{
	bench_rc |= BENCH_HC3(vcpu_op, VCPUOP_set_singleshot_timer, 0, &far);
}

static void singleshot_stop(void)
{
	bench_rc |= BENCH_HC3(vcpu_op, VCPUOP_stop_singleshot_timer, 0, 0);
}

static void stack(void)
{
	bench_rc |= BENCH_HC2(stack_switch, FLAT_KERNEL_SS, this_cpu()->trap_stack);
}

static void taskswitch(void)
{
	bench_rc |= BENCH_HC2(fpu_taskswitch, 1, 0);
}

static void taskswitch_back(void)
{
	bench_rc |= BENCH_HC2(fpu_taskswitch, 0, 0);
}

static void fs_base(void)
{
	bench_rc |= BENCH_HC2(set_segment_base, SEGBASE_FS, 0x1000);
}

static void console_byte(void)
{
	static char dot[] = ".";

	bench_rc |= BENCH_HC3(console_io, CONSOLEIO_write, 1, dot);
}

static void console_end(void)
{
	printf("\n");
}

const struct bench bench_calls[] = {
	{.name = "unknown hypercall", .op = unknown},
	{.name = "xen_version", .op = version},
	{.name = "multicall of 32 xen_version, per call",
	 .per = NULL_CALLS,
	 .start = calls_start,
	 .op = multi},
	{.name = "sched_op yield, nobody else", .op = yield},
	{.name = "set_timer_op arm",
	 .undo_name = "set_timer_op stop",
	 .op = timer_set,
	 .undo = timer_stop},
	{.name = "singleshot timer arm",
	 .undo_name = "singleshot timer stop",
	 .op = singleshot,
	 .undo = singleshot_stop},
	{.name = "stack_switch", .op = stack},
	{.name = "fpu_taskswitch set",
	 .undo_name = "fpu_taskswitch clear",
	 .op = taskswitch,
	 .undo = taskswitch_back},
	{.name = "set_segment_base FS", .op = fs_base},
	{.name = "console_io, 1 byte", .every = 20, .op = console_byte, .end = console_end},
	{0},
};
