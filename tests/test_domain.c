/* SPDX-License-Identifier: MIT */
/* Domains from configuration to their end: what they get, and that all of it comes back. */
#include "tests/dom_sim.h"

#include <pthread.h>
#include <xen/sched.h>

#include "memsvc/memctl_impl.h"

#define MEM (8ULL << 20)

static struct guest_config config(const char *name)
{
	struct guest_config g = {
		.kind = "test", .kernel = "k0", .vcpus = 2, .mem_bytes = MEM, .weight = 256};

	strncpy(g.name, name, sizeof(g.name) - 1);
	strncpy(g.cmdline, "console=hvc0 a=b", sizeof(g.cmdline) - 1);
	return g;
}

static uint8_t *page(struct domain *d, uint64_t pfn)
{
	mfn_t m = mm_gfn_to_mfn(&d->mm, GFN(pfn));

	cr_assert(mfn_valid_value(m), "pfn %lx", (unsigned long)pfn);
	return arch_mfn_to_virt(m);
}

/* Walk the guest's own tables, as it would. */
static uint64_t walk(struct domain *d, uint64_t l4, uint64_t va)
{
	uint64_t pte = l4 << 12;

	for (int shift = 39; shift >= 12; shift -= 9) {
		pte = ((uint64_t *)page(d, (pte & 0xffffffffff000) >> 12))[va >> shift & 511];
		if (!(pte & 1))
			return 0;
	}
	return pte;
}

static void check_kernel(struct domain *d)
{
	for (unsigned i = 0; i < SIM_KERNEL_TEXT; i += 4) {
		uint32_t v;

		memcpy(&v, page(d, 0x100 + i / 4096) + i % 4096, 4);
		if (i < 0x2000)
			cr_assert_eq(v, i);
		else /* the hypercall page, as the host's arch_hypercall_page() fills it */
			cr_assert_eq(v, 0xcccccccc);
	}
	cr_assert_eq(page(d, 0x103)[0], 0);
}

static void check_tables(struct domain *d, const start_info_t *si, uint64_t stack_va)
{
	uint64_t l4 = (si->pt_base - SIM_KERNEL_VA) >> 12, first_table = l4;
	uint64_t va = SIM_KERNEL_VA, pte;

	for (uint64_t pfn = 0; (pte = walk(d, l4, va)); pfn++, va += PAGE_SIZE) {
		bool table = pfn - first_table < si->nr_pt_frames;

		cr_assert_eq((pte & 0xffffffffff000) >> 12, pfn);
		cr_assert_eq(!(pte & 2), table, "pfn %lx", (unsigned long)pfn);
		cr_assert_eq(pte & 0x65, 0x65);
	}
	cr_assert(va >= stack_va + 512 * 1024, "512 KiB of padding");
	for (uint64_t i = 0; i < MEM / PAGE_SIZE; i++) {
		uint64_t at = si->mfn_list + i * 8;

		pte = walk(d, l4, at);
		cr_assert(pte);
		cr_assert_eq(*(uint64_t *)(page(d, (pte & 0xffffffffff000) >> 12) + at % 4096), i);
	}
}

static void build_and_check(bool like_linux)
{
	static uint8_t initrd[10000];
	struct boot_module mods[2];
	struct guest_config g = config("linux1");
	struct domain *d;
	start_info_t *si;
	char why[100] = "";
	uint64_t mod;

	sim_init(2, 16384);
	for (unsigned i = 0; i < sizeof(initrd); i++)
		initrd[i] = (uint8_t)(i * 7);
	mods[0] = sim_kernel("k0", like_linux);
	mods[1] = sim_module("i0", initrd, sizeof(initrd));
	strcpy(g.initrd, "i0");
	cr_assert_eq(domain_build(&g, 7, mods, 2, &d, why, sizeof(why)), 0, "%s", why);
	cr_assert_eq(d->id, 7);
	si = (start_info_t *)page(d, (d->vcpu[0]->arch.boot_rsi - SIM_KERNEL_VA) >> 12);
	cr_assert_eq(memcmp(si->magic, "xen-", 4), 0);
	cr_assert_eq(si->nr_pages, MEM / PAGE_SIZE);
	cr_assert_eq(si->shared_info, d->shared_gfn.v << 12);
	cr_assert(d->shared_gfn.v >= si->nr_pages);
	cr_assert_eq(si->flags & (SIF_PRIVILEGED | SIF_INITDOMAIN), 0);
	cr_assert_str_eq((char *)si->cmd_line, "console=hvc0 a=b");
	cr_assert_eq(si->store_mfn, 0);
	cr_assert_neq(si->console.domU.evtchn, 0);
	cr_assert_eq(d->vcpu[0]->arch.boot_rip, SIM_KERNEL_VA + 0x100020);
	cr_assert_eq(d->vcpu[0]->arch.kernel_l4.v, (si->pt_base - SIM_KERNEL_VA) >> 12);
	cr_assert_eq(si->mod_len, sizeof(initrd));
	cr_assert_eq(!!(si->flags & SIF_MOD_START_PFN), like_linux);
	mod = like_linux ? si->mod_start : (si->mod_start - SIM_KERNEL_VA) >> 12;
	for (unsigned i = 0; i < sizeof(initrd); i++)
		cr_assert_eq(page(d, mod + i / 4096)[i % 4096], initrd[i]);
	cr_assert_eq(si->mfn_list == 0x8000000000, like_linux);
	check_kernel(d);
	check_tables(d, si, d->vcpu[0]->arch.boot_rsp);
	cr_assert_eq((void *)d->shared, (void *)page(d, d->shared_gfn.v));
	cr_assert_eq(d->shared->vcpu_info[0].evtchn_upcall_mask, 1);
	cr_assert_null(domain_by_id(7), "not yet started");
	domain_start(d);
	cr_assert_eq((void *)domain_by_id(7), (void *)d);
	sim_run_until(d->vcpu[0]);
	domain_end(d, END_OFF, NULL);
	sim_wait_gone();
	cr_assert_null(domain_by_id(7));
}

Test(domain, build_like_linux)
{
	build_and_check(true);
}

Test(domain, build_without_notes_for_p2m_and_initrd)
{
	build_and_check(false);
}

/* Take frames until @left are free; a list through their first words. */
static uint64_t hog_all_but(uint64_t left)
{
	uint64_t list = 0;

	while (frames_free_count() > left) {
		mfn_t m = page_alloc(0);

		if (!mfn_valid_value(m))
			break;
		*(uint64_t *)arch_mfn_to_virt(m) = list;
		list = m.v;
	}
	return list;
}

static void hog_free(uint64_t list)
{
	while (list) {
		mfn_t m = MFN(list);

		list = *(uint64_t *)arch_mfn_to_virt(m);
		page_free(m);
	}
}

/* All frames come back, over and over, also from builds that fail half-way. */
Test(domain, nothing_is_lost)
{
	struct boot_module k;
	struct domain *d[8];
	uint64_t before = 0, hog;
	char why[100];

	sim_init(3, 32768);
	k = sim_kernel("k0", true);
	for (unsigned round = 0; round < 12; round++) {
		struct guest_config g = config("g");

		for (unsigned i = 0; i < 8; i++) {
			cr_assert_eq(domain_build(&g, 0, &k, 1, &d[i], why, sizeof(why)), 0, "%s",
				     why);
			cr_assert_eq(d[i]->id, i + 1);
			domain_start(d[i]);
		}
		/* Nothing to build it from, or too little. */
		hog = hog_all_but(round % 2 ? 60 : 0);
		cr_assert(domain_build(&g, 0, &k, 1, &d[0], why, sizeof(why)) < 0);
		cr_assert(strstr(why, "memory"), "%s", why);
		hog_free(hog);
		sim_pump(20);
		for (unsigned i = 1; i <= 8; i++)
			domain_end(domain_by_id((domid_t)i), END_OFF, NULL);
		sim_wait_gone();
		host_sim_rcu_drain();
		/* The first round leaves what stays: blocks of domains, per-pCPU stocks. */
		if (round == 1)
			before = frames_free_count();
		if (round > 1)
			cr_assert_eq(frames_free_count(), before, "round %u: %ld frames lost",
				     round, (long)(before - frames_free_count()));
		cr_assert_eq(stats_leaks(), 0);
	}
}

/* However much memory is left when all that is free may be used: what fails half-way may be tried
 * again, and comes back. */
Test(domain, builds_that_run_out_may_be_tried_again)
{
	struct guest_config g = config("g");
	struct domain *d = NULL;
	struct boot_module k;
	unsigned begun = 0, left = 0;
	char why[100];
	int rc;

	g.mem_bytes = 256 << 20;
	g.min_bytes = 1 << 20;
	sim_init(2, 16384);
	k = sim_kernel("k0", true);
	/* The first one's block of memory stays for the others. */
	cr_assert_eq(domain_build(&g, 0, &k, 1, &d, why, sizeof(why)), 0, "%s", why);
	domain_destroy(d);
	sim_wait_gone();
	do {
		uint64_t hog = hog_all_but(left);

		atomic_store(&memctl.squeezed, true);
		rc = domain_build(&g, 0, &k, 1, &d, why, sizeof(why));
		hog_free(hog);
		begun += rc && !strstr(why, "to load it takes");
		cr_assert(!rc || strstr(why, "memory"), "%s", why);
		cr_assert(!rc || rc == -XEN_EAGAIN, "with %u pages: %d, %s", left, rc, why);
		cr_assert_lt(left, 1000, "%s", why);
		if (!rc)
			domain_destroy(d);
		sim_wait_gone();
		host_sim_rcu_drain();
		cr_assert_eq(stats_leaks(), 0);
		left += 5;
	} while (rc);
	printf("# %u pages are enough, %u builds began\n", left - 5, begun);
	cr_assert_gt(begun, 10);
}

Test(domain, the_first_reason_wins)
{
	struct guest_record r = {.name = "guest", .kind = "test"};
	struct domain *d;

	sim_init(2, 8192);
	d = sim_domain(3);
	d->record = &r;
	domain_crash(d, "did %d bad things", 3);
	domain_end(d, END_OFF, "late");
	domains_end_all(END_KILLED, "later");
	sim_wait_gone();
	log_flush();
	cr_assert_eq(r.end, END_KILLED);
	cr_assert_str_eq(r.reason, "did 3 bad things");
	cr_assert(strstr(sim_records,
			 "\"ev\":\"end\",\"guest\":\"guest\",\"domid\":1,\"kind\":"
			 "\"test\",\"state\":\"killed\",\"reason\":\"did 3 bad things\""),
		  "%s", sim_records);
}

Test(domain, limits)
{
	struct domain_params p = {.name = "x", .kind = "y", .vcpus = 0, .nr_pages = 16};
	struct domain *d, *e;

	sim_init(1, 8192);
	cr_assert_eq(domain_create(&d, &p), -XEN_EINVAL);
	p.vcpus = MAX_VCPUS + 1;
	cr_assert_eq(domain_create(&d, &p), -XEN_EINVAL);
	p.vcpus = MAX_VCPUS;
	p.id = 5;
	cr_assert_eq(domain_create(&d, &p), 0);
	cr_assert_eq(domain_create(&e, &p), -XEN_EEXIST);
	p.id = MAX_DOMAINS + 1;
	cr_assert_eq(domain_create(&e, &p), -XEN_EEXIST);
	p.id = 0;
	p.nr_pages = UINT64_MAX;
	cr_assert(domain_create(&e, &p) < 0);
	domain_destroy(d);
	sim_wait_gone();
}

/* ---- a whole run ---- */

static unsigned boot_status;

/* Every guest that runs powers off, or misbehaves as its name says. */
static void play(struct vcpu *v)
{
	struct sched_shutdown sd = {SHUTDOWN_poweroff};

	if (strstr(v->domain->name, "crash"))
		sd.reason = SHUTDOWN_crash;
	if (strstr(v->domain->name, "reboot"))
		sd.reason = SHUTDOWN_reboot;
	cr_assert_eq(sim_hc(__HYPERVISOR_sched_op, SCHEDOP_shutdown, (uint64_t)&sd, 0), 0);
}

static void run(const char *conf, unsigned cpus, const char *command)
{
	static struct boot_module mods[4];

	sim_init(cpus, 65536);
	mods[0] = sim_module("xylem.conf", conf, strlen(conf));
	mods[1] = sim_kernel("k0", true);
	mods[2] = sim_kernel("k1", false);
	mods[3] = sim_module("bad", "#!/bin/sh", 9);
	if (command)
		host_console_input(1, command);
	if (HOST_CATCH_PANIC() == 0) {
		domains_boot(mods, 4);
		for (unsigned i = 0; i < 100000; i++) {
			sim_pump(1);
			if (!command)
				sim_play(play);
		}
		cr_assert_fail("no end");
	}
	boot_status = host_poweroff_status;
}

static void says(const char *text)
{
	cr_assert(strstr(sim_records, text), "no %s in %s", text, sim_records);
}

Test(domains_boot, all_well)
{
	run("guest name=a kernel=k0 kind=linux mem=8M vcpus=2\n"
	    "guest name=b kernel=k1 mem=4M cmdline=\"x\"\n",
	    3, NULL);
	cr_assert_eq(boot_status, POWEROFF_OK);
	says("{\"ev\":\"start\",\"guest\":\"a\",\"domid\":1,");
	says("\"guest\":\"b\",\"domid\":2,\"kind\":\"pv\",\"state\":\"off\",\"reason\":\"\","
	     "\"vcpus\":1,"
	     "\"mem_kib\":4096,");
	says("{\"ev\":\"halt\",\"status\":16,");
	cr_assert(strstr(sim_log, "guest            kind"), "the table");
}

/* A guest that cannot be started does not keep the others from running. */
Test(domains_boot, some_bad)
{
	run("guest name=a kernel=k0 mem=8M\n"
	    "guest name=nokernel kernel=k9\n"
	    "guest name=noelf kernel=bad\n"
	    "guest name=small kernel=k0 mem=1M\n"
	    "guest name=huge kernel=k0 mem=4G\n"
	    "guest name=many kernel=k0 vcpus=500\n"
	    "guest name=far kernel=k0 mem=8M pin=7\n"
	    "guest name=a kernel=k0 mem=8M\n"
	    "guest name=crash kernel=k0 mem=8M\n"
	    "guest name=reboot kernel=k0 mem=8M\n"
	    "guest name=z kernel=k0 mem=8M pin=1\n",
	    2, NULL);
	cr_assert_eq(boot_status, POWEROFF_FAILED);
	says("\"guest\":\"a\",\"domid\":1,\"kind\":\"pv\",\"state\":\"off\"");
	says("\"guest\":\"nokernel\",\"domid\":0,\"kind\":\"pv\",\"state\":\"failed\","
	     "\"reason\":\"there is no module 'k9' for its kernel\"");
	says("\"state\":\"failed\",\"reason\":\"kernel is not an ELF file\"");
	says("\"guest\":\"small\",\"domid\":0,\"kind\":\"pv\",\"state\":\"failed\","
	     "\"reason\":\"too little memory: 1024 KiB");
	says("\"reason\":\"not enough host memory: 512 MiB minimum and ");
	says("\"guest\":\"many\",\"domid\":0,\"kind\":\"\",\"state\":\"failed\",\"reason\":\"line "
	     "6: "
	     "vcpus=500");
	says("\"guest\":\"far\",\"domid\":0,\"kind\":\"pv\",\"state\":\"failed\",\"reason\":\"pin=:"
	     " there "
	     "is no pCPU 7");
	says("\"guest\":\"crash\",\"domid\":8,\"kind\":\"pv\",\"state\":\"crashed\"");
	says("\"guest\":\"reboot\",\"domid\":9,\"kind\":\"pv\",\"state\":\"rebooted\"");
	says("\"guest\":\"z\",\"domid\":10,\"kind\":\"pv\",\"state\":\"off\"");
	says("\"config_errors\":1,\"leaked_frames\":0}");
	cr_assert(strstr(sim_log, "configuration: line 8: name=a: name already used"));
}

Test(domains_boot, ended_on_request)
{
	run("guest name=a kernel=k0 mem=8M\nguest name=b kernel=k0 mem=8M\n", 1, "x\nq\n");
	cr_assert_eq(boot_status, POWEROFF_FAILED);
	says("\"guest\":\"a\",\"domid\":1,\"kind\":\"pv\",\"state\":\"killed\",\"reason\":\"ended "
	     "on request\"");
	says("\"guest\":\"b\",\"domid\":2,\"kind\":\"pv\",\"state\":\"killed\",\"reason\":\"ended "
	     "on request\"");
}

Test(domains_boot, nothing_to_do)
{
	run("set colour red\n", 1, NULL);
	cr_assert_eq(boot_status, POWEROFF_FAILED);
	says("\"status\":17");
	cr_assert(strstr(sim_log, "line 1: set colour red: unknown key"));
}

Test(domains_boot, a_hundred, .timeout = 120)
{
	static char conf[100 * 64];
	char *p = conf;

	for (unsigned i = 0; i < 100; i++)
		p += sprintf(p, "guest name=mini%u kind=mini kernel=k1 mem=2M\n", i);
	run(conf, 4, NULL);
	cr_assert_eq(boot_status, POWEROFF_OK, "%s", sim_log);
	says("\"guest\":\"mini99\",\"domid\":100,");
	says("\"guests\":100,\"config_errors\":0,\"leaked_frames\":0}");
}
