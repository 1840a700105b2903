/* SPDX-License-Identifier: MIT */
/* Domains made and destroyed on the control stream while others run: all they held comes back. */
#include "tests/dom_sim.h"

#include <xen/sched.h>

#include "core/control.h"
#include "core/create.h"
#include "memsvc/memctl.h"

enum { PCPUS = 2, CYCLES = 30, WARM = 4 };

static unsigned next_id;

/* What a guest does; by its name. Those that stay sleep: one thread plays all pCPUs, and none of
 * them may wait for another that has a guest loaded. */
static void play(struct vcpu *v)
{
	struct sched_shutdown sd = {SHUTDOWN_poweroff};

	if (v->domain->name[0] == 'x')
		sd.reason = SHUTDOWN_crash;
	if (strcmp(v->domain->name, "keeper") != 0 && v->domain->name[0] != 's')
		sim_hc(__HYPERVISOR_sched_op, SCHEDOP_shutdown, (uint64_t)&sd, 0);
	else
		sim_hc(__HYPERVISOR_sched_op, SCHEDOP_block, 0, 0);
}

static void pump(unsigned rounds)
{
	while (rounds--) {
		sim_play(play);
		sim_pump(1);
	}
}

/* Send a control line and wait for its answer. */
static const char *ask(const char *what)
{
	static char want[64], line[300];

	snprintf(want, sizeof(want), "{\"ev\":\"ctl\",\"id\":%u,", ++next_id);
	snprintf(line, sizeof(line), "ctl %u %s\n", next_id, what);
	host_console_input(1, line);
	for (unsigned i = 0; i < 100000; i++) {
		const char *found;

		pump(1);
		sim_records[host_console_len(1)] = 0;
		found = strstr(sim_records, want);
		if (found && strchr(found, '\n'))
			return found + strlen(want);
	}
	cr_assert_fail("no answer to %s", what);
	return "";
}

static bool says(const char *answer, const char *text)
{
	const char *found = strstr(answer, text);

	return found && found < strchr(answer, '\n');
}

#define YES(what) cr_assert(says(ask(what), "\"ok\":true"), "%s: %.90s", what, sim_records)
#define NO(what, word)                                                                        \
	do {                                                                                  \
		const char *answer_ = ask(what);                                              \
		cr_assert(says(answer_, "\"ok\":false") && says(answer_, word), "%s: %.120s", \
			  what, answer_);                                                     \
	} while (0)

static void wait_gone(void)
{
	for (unsigned i = 0; i < 100000 && create_alive(); i++)
		pump(1);
	cr_assert_eq(create_alive(), 0, "made domains are left");
	host_sim_rcu_drain();
	pump(200);
}

static void boot(void)
{
	static const char conf[] = "guest name=keeper kernel=k0 mem=8M vcpus=2 cmdline=\"a=1\"\n"
				   "guest name=little kernel=k1 mem=4M min=4M weight=512\n"
				   "guest name=huge kernel=k1 mem=512M min=400M\n";
	static struct boot_module mods[3];

	sim_init(PCPUS, 65536);
	mods[0] = sim_module("xylem.conf", conf, strlen(conf));
	mods[1] = sim_kernel("k0", true);
	mods[2] = sim_kernel("k1", false);
	domains_boot(mods, 3);
	for (unsigned i = 0; i < 100000 && domain_live_count() != 1; i++)
		pump(1);
	cr_assert_eq(domain_live_count(), 1, "only the keeper is left");
	pump(2000);
}

static uint64_t committed(void)
{
	struct memctl_host_stats h;

	memctl_host_stats(&h);
	return h.committed;
}

Test(create, all_comes_back, .timeout = 200)
{
	uint64_t frames = 0, promised = 0;

	boot();
	for (unsigned i = 0; i < CYCLES; i++) {
		char line[80];

		/* s: stays until it is destroyed; o: powers off; x: crashes. */
		snprintf(line, sizeof(line), "create %c%u %s seed=%u", "sox"[i % 3], i,
			 i % 2 ? "keeper" : "little", i);
		YES(line);
		if (i % 3 == 0) {
			char name[16];
			struct domain *d;

			snprintf(name, sizeof(name), "s%u", i);
			d = domain_by_id(4);
			cr_assert(d && !strcmp(d->name, name), "the first id after the configured");
			cr_assert_eq(d->sched.weight, i % 2 ? 256 : 512);
			snprintf(line, sizeof(line), "destroy s%u", i);
			YES(line);
		}
		wait_gone();
		if (i == WARM) {
			frames = frames_free_count();
			promised = committed();
		}
	}
	cr_assert_eq(frames_free_count(), frames, "%lu frames are free, not %lu",
		     (unsigned long)frames_free_count(), (unsigned long)frames);
	cr_assert_eq(committed(), promised);
	cr_assert_eq(stats_leaks(), 0);
	cr_assert_eq(create_failures(), CYCLES / 3, "those that crashed");
	cr_assert(strstr(sim_records,
			 "\"guest\":\"s0\",\"domid\":4,\"kind\":\"pv\","
			 "\"state\":\"destroyed\",\"reason\":\"destroyed on request\""));
	cr_assert(strstr(sim_records, "\"guest\":\"x2\",\"domid\":4,\"kind\":\"pv\","
				      "\"state\":\"crashed\""));
}

Test(create, refusals, .timeout = 60)
{
	boot();
	NO("create", "wrong number of words");
	NO("create a", "wrong number of words");
	NO("create a nobody", "'nobody'");
	NO("create keeper keeper", "a guest called 'keeper'");
	NO("create a$b keeper", "'a$b' is not");
	NO("create xylem keeper", "'xylem' is not");
	NO("create a123456789012345678901234567890123 keeper", "is not a guest's name");
	NO("create s1 huge", "not enough host memory");
	NO("destroy nobody", "'nobody'");
	NO("destroy s1", "'s1'");
	YES("create s1 keeper");
	NO("create s1 keeper", "a guest called 's1'");
	YES("pin s1 1");
	NO("pin s1 1-", "'1-' is not a set");
	NO("pin nobody 1", "'nobody'");
	YES("destroy s1");
	wait_gone();
	YES("create s1 keeper");
	YES("destroy s1");
	wait_gone();
	cr_assert_eq(create_failures(), 0);
}

/* Each word is added to the command line, however many there are. */
Test(create, all_words_count, .timeout = 60)
{
	const start_info_t *si;
	const struct vcpu *v;
	mfn_t m;

	boot();
	YES("create s1 keeper b c d e f g h i j k l m n o p q r s t u v w x y z");
	v = domain_by_id(4)->vcpu[0];
	m = mm_gfn_to_mfn(&v->domain->mm, GFN((v->arch.boot_rsi - SIM_KERNEL_VA) >> PAGE_SHIFT));
	si = arch_mfn_to_virt(m);
	cr_assert_str_eq((const char *)si->cmd_line,
			 "a=1 b c d e f g h i j k l m n o p q r s t u v w x y z");
}

Test(create, pin_reaches_the_vcpus, .timeout = 60)
{
	const struct sched_unit *u;

	boot();
	YES("create s1 little");
	u = &domain_by_id(4)->vcpu[0]->unit;
	YES("pin s1 1");
	pump(100);
	cr_assert(cpumask_test(&u->pin, 1) && !cpumask_test(&u->pin, 0));
	cr_assert_eq(u->weight, 512);
	YES("pin s1 all");
	pump(100);
	cr_assert(cpumask_test(&u->pin, 1) && cpumask_test(&u->pin, 0));
}

/* The last domain goes while another is being made: the machine goes on for it. */
Test(create, the_last_one_goes, .timeout = 60)
{
	boot();
	host_console_input(1, "ctl 1 destroy keeper\nctl 2 create s2 little\n");
	if (HOST_CATCH_PANIC() == 0) {
		pump(20000);
		cr_assert_eq(domain_live_count(), 1);
		cr_assert(domain_by_id(4));
		host_console_input(1, "ctl 3 destroy s2\n");
		pump(100000);
		cr_assert_fail("no end");
	}
	sim_records[host_console_len(1)] = 0;
	cr_assert_eq(host_poweroff_status, POWEROFF_FAILED, "huge could not start");
	cr_assert(strstr(sim_records, "\"ev\":\"ctl\",\"id\":2,\"ok\":true"));
	cr_assert(strstr(sim_records, "\"guest\":\"s2\",\"domid\":4,\"kind\":\"pv\","
				      "\"state\":\"destroyed\""));
}
