/* SPDX-License-Identifier: MIT */
/* The hypercall table, multicall and continuations. */
#include "tests/dom_sim.h"

#include <xen/sched.h>
#include <xen/version.h>

#define MC(hc, ...)                                                                \
	{                                                                          \
		.op = __HYPERVISOR_##hc, .result = 0x5555, .args = { __VA_ARGS__ } \
	}

Test(hypercall, unknown_numbers)
{
	static const unsigned none[] = {11, 27, 31, 34, 37, 38, 39,   40,
					41, 42, 47, 48, 63, 64, 4096, 0xffffffff};
	struct domain *d;

	sim_init(1, 8192);
	d = sim_domain(1);
	for (unsigned i = 0; i < ARRAY_SIZE(none); i++) {
		cr_assert_eq(sim_hc(none[i], 1, 2, 3), -XEN_ENOSYS, "%u", none[i]);
		cr_assert_str_eq(hypercall_name(none[i]), "?");
	}
	cr_assert_eq(d->vcpu[0]->cnt.hypercalls, ARRAY_SIZE(none));
	cr_assert_str_eq(hypercall_name(__HYPERVISOR_mmu_update), "mmu_update");
	cr_assert_str_eq(hypercall_name(29), "sched_op");
	cr_assert_str_eq(hypercall_name(32), "event_channel_op");
}

Test(hypercall, multicall_results)
{
	struct xen_feature_info fi = {0, 0};
	struct multicall_entry mc[] = {
		MC(xen_version, XENVER_version),
		MC(xen_version, XENVER_get_features, (uint64_t)&fi),
		{.op = 63, .result = 1},
		MC(multicall, 0, 0),
		MC(iret),
		MC(xen_version, 12345),
		MC(xen_version, XENVER_pagesize),
	};
	static const long want[] = {4 << 16 | 17, 0,	       -XEN_ENOSYS, -XEN_EINVAL,
				    -XEN_EINVAL,  -XEN_ENOSYS, 4096};

	sim_init(1, 8192);
	sim_domain(1);
	cr_assert_eq(sim_hc(__HYPERVISOR_multicall, (uint64_t)mc, ARRAY_SIZE(mc), 0), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(mc); i++)
		cr_assert_eq((long)mc[i].result, want[i], "entry %u: %ld", i, (long)mc[i].result);
	cr_assert_eq(fi.submap, 1u << 4 | 1u << 5 | 1u << 7);
	cr_assert_eq(sim_hc(__HYPERVISOR_multicall, 0, 0, 0), 0);
	cr_assert_eq(sim_hc(__HYPERVISOR_multicall, 8, 1, 0), -XEN_EFAULT);
	/* The count is 32 bits wide. */
	cr_assert_eq(sim_hc(__HYPERVISOR_multicall, 8, 1ULL << 32, 0), 0);
}

/* Work that is due interrupts a multicall between entries; every entry runs exactly once. */
Test(hypercall, multicall_is_preempted)
{
	enum { N = 50 };
	struct multicall_entry mc[N];
	uint64_t args[6] = {(uint64_t)mc, N};
	struct domain *d;
	struct arch_vcpu *a;
	unsigned rounds = 0;
	long rc;

	sim_init(1, 8192);
	d = sim_domain(1);
	a = &d->vcpu[0]->arch;
	for (unsigned i = 0; i < N; i++)
		mc[i] = (struct multicall_entry)MC(xen_version, i % 2 ? XENVER_version : 99);
	for (;; rounds++) {
		this_pcpu()->work |= WORK_RESCHED;
		rc = sim_dispatch(__HYPERVISOR_multicall, args);
		if (rc != -HC_CONTINUE)
			break;
		cr_assert_eq(a->restart_nr, __HYPERVISOR_multicall);
		cr_assert_eq(a->restart_args[1], N - 1 - rounds);
		memcpy(args, a->restart_args, sizeof(args));
		sim_pump(1);
		cr_assert_eq((void *)current_vcpu(), (void *)d->vcpu[0]);
	}
	cr_assert_eq(rc, 0);
	cr_assert_eq(rounds, N - 1);
	for (unsigned i = 0; i < N; i++)
		cr_assert_eq((long)mc[i].result, i % 2 ? 4 << 16 | 17 : -XEN_ENOSYS);
	/* N entries, and the multicall itself each time it was issued. */
	cr_assert_eq(d->vcpu[0]->cnt.hypercalls, N + N);
}

/* An entry that must be continued carries its own progress: nothing is printed twice or lost. */
Test(hypercall, a_continued_entry)
{
	static char text[100000];
	uint64_t args[6] = {0, 2}, passes = 0;
	struct multicall_entry mc[] = {
		MC(console_io, CONSOLEIO_write, sizeof(text), (uint64_t)text),
		MC(xen_version, XENVER_version),
	};
	struct domain *d;
	unsigned lines = 0, seen = 0;
	long rc;

	sim_init(1, 8192);
	d = sim_domain(1);
	args[0] = (uint64_t)mc;
	for (size_t at = 0; at + 20 < sizeof(text); at += 20, lines++)
		snprintf(text + at, 21, "line %013u\n\n", lines);
	mc[0].args[1] = lines * 20;
	while ((rc = sim_dispatch(__HYPERVISOR_multicall, args)) == -HC_CONTINUE) {
		memcpy(args, d->vcpu[0]->arch.restart_args, sizeof(args));
		host_become(0);
		log_drain();
		sim_pump(1);
		sim_run_until(d->vcpu[0]);
		cr_assert(++passes < 100000);
	}
	cr_assert_eq(rc, 0);
	cr_assert(passes > 1, "the log took everything at once");
	cr_assert_eq((long)mc[0].result, 0);
	cr_assert_eq((long)mc[1].result, 4 << 16 | 17);
	sim_pump(100);
	log_flush();
	for (const char *p = sim_log; (p = strstr(p, "| line ")); p++, seen++)
		cr_assert_eq(strtoul(p + 7, NULL, 10), seen);
	cr_assert_eq(seen, lines);
}

static struct domain *random_domain(const struct boot_module *kernel)
{
	struct guest_config g = {.name = "random",
				 .kind = "test",
				 .kernel = "k0",
				 .vcpus = 4,
				 .mem_bytes = 4 << 20,
				 .weight = 256};
	struct domain *d;
	char why[100] = "";

	cr_assert_eq(domain_build(&g, 0, kernel, 1, &d, why, sizeof(why)), 0, "%s", why);
	/* All run on the boot page tables, which real vCPUs would have loaded by themselves. */
	for (unsigned i = 0; i < 4; i++) {
		struct arch_vcpu *a = &d->vcpu[i]->arch;

		a->kernel_l4 = d->vcpu[0]->arch.kernel_l4;
		cr_assert_eq(mm_base_get(&d->mm, a->kernel_l4, &a->kernel_root), 0);
	}
	domain_start(d);
	sim_run_until(d->vcpu[0]);
	return d;
}

/* Every call with random arguments: an errno or a result, never a crash. */
Test(hypercall, random_arguments, .timeout = 120)
{
	static const uint64_t values[] = {0,	       1,	2,	    3,		4,
					  5,	       7,	8,	    31,		32,
					  127,	       128,	255,	    0x7ff0,	0x7ff1,
					  0xffff,      0x10000, 0x7fffffff, 0x80000000, 0xffffffff,
					  0x100000000, ~0ULL,	1ULL << 63, 0x1000,	0xfff};
	static uint64_t buffer[1024];
	unsigned seed = 20260103;
	struct boot_module kernel;
	struct domain *d;

	sim_init(2, 16384);
	kernel = sim_kernel("k0", false);
	d = random_domain(&kernel);
	cr_log_info("seed %u", seed);
	/* Only the buffer is guest memory. */
	host_guest_range((uint64_t)buffer, (uint64_t)(buffer + ARRAY_SIZE(buffer)));
	for (unsigned i = 0; i < 300000; i++) {
		unsigned nr = (unsigned)rand_r(&seed) % 66;
		uint64_t args[6];
		long rc;

		for (unsigned k = 0; k < 6; k++) {
			args[k] = values[(unsigned)rand_r(&seed) % ARRAY_SIZE(values)];
			if (rand_r(&seed) % 3 == 0)
				args[k] = (uint64_t)&buffer[rand_r(&seed) % 1024];
			if (rand_r(&seed) % 4 == 0)
				buffer[rand_r(&seed) % 1024] = args[k];
		}
		if (domain_live_count() == 0 || vcpu_must_stop(d->vcpu[0])) {
			sim_wait_gone();
			d = random_domain(&kernel);
		}
		/* A vCPU that asks for it sleeps for ever: take whichever runs. */
		for (unsigned c = 0; c < nr_pcpus() && !current_vcpu(); c++)
			host_become(c);
		if (!current_vcpu() || vcpu_must_stop(current_vcpu())) {
			domain_end(d, END_OFF, NULL);
			host_become(0);
			continue;
		}
		rc = sim_dispatch(nr, args);
		cr_assert(rc > -4096 || rc == -HC_CONTINUE, "%s: %ld", hypercall_name(nr), rc);
		if (this_pcpu()->work)
			sim_pump(1);
	}
	domain_end(d, END_OFF, NULL);
	sim_wait_gone();
	cr_assert_eq(stats_leaks(), 0);
}
