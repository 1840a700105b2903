/* SPDX-License-Identifier: MIT */
/* Contention counts: exact under threads, consistent at any moment, complete in the report. */
#include "core/contention_report.h"
#include "core/control.h"
#include "core/host/host.h"
#include "core/xen_errno.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define CPUS 4
#define ROUNDS 20000
#define NOINLINE __attribute__((noinline))

/* The number of the site with this name; there is one. */
static unsigned site_named(const char *name)
{
	unsigned found = nr_sites();

	for (unsigned i = 0; i < nr_sites(); i++) {
		if (strcmp(__start_xylem_sites[i].name, name) == 0) {
			cr_assert_eq(found, nr_sites(), "twice: %s", name);
			found = i;
		}
	}
	cr_assert_lt(found, nr_sites(), "no site %s", name);
	return found;
}

/* What the rows of pCPU @p's call paths say of @site together. */
static unsigned add_calls(const struct pcpu *p, unsigned site, struct contention_counts *sum)
{
	struct contention_counts one;
	uintptr_t pc[CALLER_DEPTH];
	unsigned rows = 0;

	for (unsigned i = 0; i < MAX_CALLERS; i++) {
		if (contention_caller(&p->contention, i, &one, pc) != (int)site)
			continue;
		cr_assert(pc[0], "a row without a caller");
		sum->contended += one.contended;
		sum->wait += one.wait;
		sum->retries += one.retries;
		rows++;
	}
	return rows;
}

/* ---- one pCPU: each failure is made ---- */

/* Fails @failures times, or gives up after @give_up of them. */
static NOINLINE bool bump(_Atomic uint64_t *word, unsigned failures, unsigned give_up)
{
	uint64_t seen = atomic_load(word);
	CAS_LOOP(loop, "test word");

	do {
		if (give_up && failures < give_up)
			return false;
		if (failures) {
			failures--;
			seen = ~seen;
		}
	} while (!atomic_compare_exchange_strong(word, &seen, seen + 1) && retry(&loop));
	retry_done(&loop);
	retry_done(&loop);
	return true;
}

static NOINLINE void caller_a(_Atomic uint64_t *word, unsigned failures)
{
	cr_assert(bump(word, failures, 0));
}

static NOINLINE void caller_b(_Atomic uint64_t *word, unsigned failures)
{
	cr_assert(bump(word, failures, 0));
}

Test(contention, each_failure_counts_once)
{
	struct contention_counts c, calls = {0};
	_Atomic uint64_t word = 0;
	unsigned site;

	host_sim_init(2);
	host_become(1);
	for (unsigned i = 0; i < 100; i++)
		caller_a(&word, 0);
	site = site_named("test word");
	contention_sum(site, &c);
	cr_expect_eq(c.ops, 100);
	cr_expect_eq(c.contended + c.retries + c.wait, 0);
	for (unsigned i = 0; i < 10; i++)
		caller_a(&word, 3);
	for (unsigned i = 0; i < 5; i++)
		caller_b(&word, 1);
	contention_sum(site, &c);
	cr_expect_eq(c.ops, 115);
	cr_expect_eq(c.contended, 15);
	cr_expect_eq(c.retries, 35);
	cr_expect_gt(c.wait, 0);
	cr_expect_eq(add_calls(pcpu_get(1), site, &calls), 2, "a row for each caller");
	cr_expect_eq(calls.contended, 15);
	cr_expect_eq(calls.retries, 35);
	cr_expect_eq(calls.wait, c.wait);
	cr_expect_eq(add_calls(pcpu_get(0), site, &calls), 0, "the other pCPU's");
	contention_read(&pcpu_get(0)->contention, site, &c);
	cr_expect_eq(c.ops, 0);
}

Test(contention, giving_up_ends_the_pass)
{
	struct contention_counts c;
	_Atomic uint64_t word = 0;

	host_sim_init(1);
	cr_assert_not(bump(&word, 4, 2));
	contention_sum(site_named("test word"), &c);
	cr_expect_eq(c.ops, 1);
	cr_expect_eq(c.contended, 1);
	cr_expect_eq(c.retries, 3);
	cr_expect_gt(c.wait, 0);
}

Test(contention, a_thread_without_a_pcpu_counts_for_nobody)
{
	struct contention_counts c;
	_Atomic uint64_t word = 0;

	host_sim_init(1);
	host_this_pcpu = NULL;
	caller_a(&word, 2);
	contention_sum(site_named("test word"), &c);
	cr_expect_eq(c.ops + c.contended, 0);
}

/* More call paths than the table has rows: the slots still have them all. */
Test(contention, too_many_call_paths)
{
	struct contention_counts c, calls;
	unsigned rows = 0, missing = 0;

	host_sim_init(1);
	for (unsigned i = 0; i < nr_sites(); i++)
		contention_record(&__start_xylem_sites[i], arch_cycles(), 1);
	for (unsigned i = 0; i < nr_sites(); i++)
		contention_record(&__start_xylem_sites[i], arch_cycles(), 2);
	for (unsigned i = 0; i < nr_sites(); i++) {
		memset(&calls, 0, sizeof(calls));
		rows += add_calls(this_pcpu(), i, &calls);
		contention_sum(i, &c);
		cr_expect_eq(c.contended, 2);
		cr_expect_leq(calls.contended, 2);
		cr_expect_leq(calls.wait, c.wait);
		missing += 2 - (unsigned)calls.contended;
	}
	cr_expect_gt(2 * nr_sites(), MAX_CALLERS, "the test makes too few paths");
	cr_expect_leq(rows, MAX_CALLERS);
	cr_expect_eq(rows + missing, 2 * nr_sites());
}

/* ---- threads ---- */

static _Atomic uint64_t word, failed, refused;
static _Atomic unsigned busy;

static NOINLINE uint64_t add_one(void)
{
	uint64_t seen = atomic_load_explicit(&word, memory_order_relaxed), tries = 0;
	CAS_LOOP(loop, "test threads' word");

	while (!atomic_compare_exchange_weak(&word, &seen, seen + 1)) {
		tries++;
		retry(&loop);
	}
	return tries;
}

static void hammer(void *arg)
{
	uint64_t mine = 0, passes = 0;

	(void)arg;
	if (this_pcpu()->id == CPUS) { /* the reader */
		while (atomic_load(&busy)) {
			for (unsigned i = 0; i < nr_sites(); i++) {
				for (unsigned cpu = 0; cpu < CPUS; cpu++) {
					struct contention_counts c, calls = {0};
					const struct pcpu *p = pcpu_get(cpu);

					add_calls(p, i, &calls);
					contention_read(&p->contention, i, &c);
					cr_assert_leq(c.contended, c.ops);
					cr_assert_leq(calls.contended, c.contended);
				}
			}
		}
		return;
	}
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t tries = add_one();

		mine += tries;
		passes += tries != 0;
	}
	atomic_fetch_add(&failed, mine);
	atomic_fetch_add(&refused, passes);
	atomic_fetch_sub(&busy, 1);
}

Test(contention, exact_under_threads)
{
	struct contention_counts c, calls = {0};
	unsigned site;

	host_clock_virtual(false);
	atomic_store(&busy, CPUS);
	host_threads_start(CPUS + 1, hammer, NULL);
	host_threads_join();
	site = site_named("test threads' word");
	contention_sum(site, &c);
	cr_expect_eq(atomic_load(&word), CPUS * ROUNDS);
	cr_expect_eq(c.ops, CPUS * ROUNDS);
	cr_expect_eq(c.retries, atomic_load(&failed));
	cr_expect_eq(c.contended, atomic_load(&refused));
	cr_expect_eq(!c.contended, !c.wait);
	for (unsigned cpu = 0; cpu < CPUS; cpu++)
		add_calls(pcpu_get(cpu), site, &calls);
	cr_expect_eq(calls.contended, c.contended);
	cr_expect_eq(calls.retries, c.retries);
	cr_expect_eq(calls.wait, c.wait);
}

/* ---- the registry and the report ---- */

Test(contention, sites_say_where_they_are)
{
	cr_expect_leq(nr_sites(), MAX_SITES);
	for (unsigned i = 0; i < nr_sites(); i++) {
		const struct contention_site *s = &__start_xylem_sites[i];

		cr_assert(s->name[0] && s->line);
		cr_assert_neq(s->file[0], '/', "%s", s->file);
		cr_assert(s->function);
		for (const char *p = s->name; *p; p++)
			cr_assert(*p != '"' && *p != '\\', "%s goes into JSON as it is", s->name);
	}
	site_named("frame's state");
	site_named("TLB shootdown");
}

static char records[1 << 17];

static unsigned occurs(const char *text)
{
	unsigned n = 0;

	for (const char *p = records; (p = strstr(p, text)); p++)
		n++;
	return n;
}

Test(contention, report)
{
	_Atomic uint64_t w = 0;
	char want[64];

	host_sim_init(2);
	for (unsigned i = 0; i < 7; i++)
		caller_a(&w, i % 2);
	host_console_capture(1, records, sizeof(records) - 1);
	contention_report_end();
	cr_expect_eq(host_console_len(1), 0, "nobody asked");
	cr_expect_eq(control_setting("profile.locks", "2"), -XEN_EINVAL);
	cr_expect_eq(control_setting("profile.locks", "1"), 0);
	contention_report_end();
	log_flush();
	cr_expect_eq(occurs("\"begin\":"), 1);
	cr_expect_eq(occurs("\"site\":["), nr_sites());
	cr_expect_eq(occurs("\"end\":{"), 1);
	cr_expect_eq(occurs("\"ctl\""), 0);
	snprintf(want, sizeof(want), "[%u,7,3,3,", site_named("test word"));
	cr_expect_eq(occurs(want), 1, "%s in\n%s", want, records);
	snprintf(want, sizeof(want), "[[%u,3,3,", site_named("test word"));
	cr_expect_eq(occurs(want), 1, "%s in\n%s", want, records);
}

Test(contention, report_on_request)
{
	char line[] = "5 locks", again[] = "6 locks", wrong[] = "7 locks 1", answer[200];

	host_sim_init(1);
	host_console_capture(1, records, sizeof(records) - 1);
	control_line(line, answer, sizeof(answer));
	cr_expect_str_empty(answer, "it comes later");
	control_line(again, answer, sizeof(answer));
	cr_expect(strstr(answer, "\"id\":6,\"ok\":false"), "%s", answer);
	control_line(wrong, answer, sizeof(answer));
	cr_expect(strstr(answer, "wrong number of words"), "%s", answer);
	for (unsigned i = 0; i < 4000 && !occurs("\"ctl\""); i++) {
		host_clock_set(arch_now_ns() + NS_PER_MS);
		host_service();
		log_flush();
	}
	cr_expect_eq(occurs("\"end\":{"), 1);
	cr_expect_eq(occurs("{\"ev\":\"ctl\",\"id\":5,\"ok\":true,\"locks\":true}"), 1);
	cr_expect(strstr(strstr(records, "\"end\":{"), "\"ctl\""), "the answer comes last");
}
