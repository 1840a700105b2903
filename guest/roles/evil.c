/* SPDX-License-Identifier: MIT */
/*
 * The antagonist: does what a hostile guest would. Ends with "SURVIVED" where
 * the mode can be survived; where it can't, the hypervisor has to end it.
 */
#include "roles/evil.h"
#include "roles/roles.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include "rt/mem.h"
#include "rt/role.h"
#include "rt/smp.h"
#include "rt/time.h"
#include "rt/trap.h"
#include <stdatomic.h>

static uint64_t doom; /* when */

/* A return to nowhere whose failsafe frame has nowhere to go either. */
static void doomed_return(void *arg)
{
	uint64_t frame[] = {0,	  0, 0, 0, doom /* rip */, 0x7f0 /* cs */, 0x202, 0x1000 /* rsp */,
			    0x7f3};

	(void)arg;
	events_mask();
	while (time_ns() < doom)
		;
	__asm__ volatile("movq %0, %%rsp; movl %1, %%eax; syscall" ::"r"(frame),
			 "i"(__HYPERVISOR_iret)
			 : "memory");
}

/* how=stack (default): a fault with no stack; how=table: with no trap table; how=both;
 * how=iret: a return that can't be made nor reported, on all vCPUs at once. */
static void evil_triple(void)
{
	const char *how = arg_str("how", "stack");
	struct trap_info end = {0};

	if (!strcmp(how, "iret")) {
		smp_up_all();
		doom = time_ns() + 20000000;
		smp_call_all(doomed_return, NULL);
	}

	printf("mini: evil triple how=%s, the hypervisor must end this domain\n", how);
	console_drain();
	events_mask();
	if (strcmp(how, "stack")) {
		HC1(set_trap_table, NULL);
		HC1(set_trap_table, &end);
	}
	if (strcmp(how, "table"))
		__asm__ volatile("movq $0x1000, %%rsp; ud2" ::: "memory");
	__asm__ volatile("ud2");
	role_fail("a fault that can't be delivered went by");
}

static void spin_masked(void *arg)
{
	uint64_t end = (uint64_t)arg;

	events_mask();
	while (!end || time_ns() < end)
		cpu_relax();
	events_unmask();
}

/* All vCPUs loop with upcalls masked, for secs= (0: for ever). */
static void evil_masked(void)
{
	uint64_t secs = arg_num("secs", 0);

	smp_up_all();
	printf("mini: evil masked secs=%lu\n", secs);
	smp_call_all(spin_masked, (void *)(secs ? time_ns() + secs * 1000000000UL : 0));
}

static _Atomic unsigned long sends;

static void flood(void *arg)
{
	uint64_t end = (uint64_t)arg;
	uint32_t port[8];
	unsigned long n = 0;

	for (unsigned int i = 0; i < ARRAY_LEN(port); i++) {
		port[i] = (uint32_t)event_bind_ipi((unsigned int)rnd() % nr_cpus);
		event_unmask(port[i]);
	}
	while (time_ns() < end)
		for (unsigned int i = 0; i < ARRAY_LEN(port); i++, n++)
			event_send(port[i]);
	for (unsigned int i = 0; i < ARRAY_LEN(port); i++)
		event_close(port[i]);
	atomic_fetch_add(&sends, n);
}

static void evil_flood(void)
{
	smp_up_all();
	smp_call_all(flood, (void *)(time_ns() + arg_num("secs", 2) * 1000000000UL));
	printf("mini: evil flood sends=%lu\n", sends);
}

static const struct {
	const char *name;
	void (*run)(void);
} modes[] = {
	{"hypercalls", evil_hypercalls}, {"maps", evil_maps},
	{"ptwrite", evil_ptwrite},	 {"priv", evil_priv},
	{"triple", evil_triple},	 {"masked", evil_masked},
	{"flood", evil_flood},		 {"oom", evil_oom},
	{"badiret", evil_badiret},	 {"badgdt", evil_badgdt},
	{"gdtrace", evil_gdtrace},
};

void role_evil(void)
{
	const char *mode = arg_str("mode", "priv");

	rnd_init();
	for (unsigned int i = 0; i < ARRAY_LEN(modes); i++)
		if (!strcmp(modes[i].name, mode)) {
			modes[i].run();
			printf("mini: SURVIVED mode=%s\n", mode);
			role_pass("mode=%s", mode);
		}
	role_fail("unknown mode=%s", mode);
}
