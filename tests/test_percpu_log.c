/* SPDX-License-Identifier: MIT */
/* The log: nothing lost that must not be, order kept, records whole, never two writers. */
#include "core/host/host.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char out[4 << 20], records[1 << 16];

static const char *text(void)
{
	out[host_console_len(0)] = '\0';
	return out;
}

static void start(unsigned cpus)
{
	host_sim_init(cpus);
	host_console_capture(0, out, sizeof(out) - 1);
	host_console_capture(1, records, sizeof(records) - 1);
}

Test(percpu_log, format)
{
	start(1);
	host_clock_set(1234567890);
	printk("hello %d\n", 42);
	cr_expect(log_guest_line("web-1", "a\x1b[31mline\ttab", 12));
	cr_expect_str_eq(text(), "", "nothing is written by who logs");
	log_flush();
	cr_expect_str_eq(text(), "[    1.234567] xylem| hello 42\n"
				 "[    1.234567] web-1| a.[31mline\tt\n");
}

Test(percpu_log, rings_are_merged_by_time)
{
	char want[4096] = "";

	start(4);
	for (unsigned i = 0; i < 40; i++) {
		host_become(i * 7 % 4);
		host_clock_set((uint64_t)i * NS_PER_MS);
		printk("line %u", i);
		sprintf(want + strlen(want), "[    0.%03u000] xylem| line %u\n", i, i);
	}
	host_become(0);
	log_flush();
	cr_expect_str_eq(text(), want);
}

/* A pCPU that logs makes pCPU 0 drain within the interval; one notice until then. */
Test(percpu_log, drained_by_timer)
{
	start(2);
	host_become(1);
	printk("one");
	printk("two");
	cr_expect_eq(atomic_load(&pcpu_get(0)->arch.kicks), 1);
	host_become(0);
	inbox_drain();
	cr_expect_leq(timers_next(), LOG_DRAIN_NS);
	host_clock_set(LOG_DRAIN_NS);
	timers_run(LOG_DRAIN_NS);
	cr_expect_str_eq(text(), "[    0.000000] xylem| one\n[    0.000000] xylem| two\n");
	cr_expect_eq(timers_next(), TIME_NEVER);
	host_become(1);
	printk("three");
	cr_expect_eq(atomic_load(&pcpu_get(0)->arch.kicks), 2, "notified anew after that");
}

Test(percpu_log, full_ring)
{
	char line[100];
	unsigned taken = 0, lines = 0;

	start(2);
	host_become(1);
	memset(line, 'x', sizeof(line));
	while (log_guest_line("g", line, sizeof(line)))
		taken++;
	cr_expect_gt(taken, 100);
	cr_expect_not(log_guest_line("g", line, sizeof(line)));
	printk("%.90s",
	       "this one has to go: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy");
	host_become(0);
	log_flush();
	for (const char *p = text(); (p = strchr(p, '\n')) != NULL; p++)
		lines++;
	cr_expect_eq(lines, taken + 1);
	cr_expect_not_null(strstr(text(), "xylem| 1 messages of cpu 1 were lost\n"));
	host_become(1);
	cr_expect(log_guest_line("g", line, sizeof(line)), "there is room again");
}

Test(percpu_log, cpu0_makes_its_own_room)
{
	start(1);
	for (unsigned i = 0; i < 5000; i++)
		printk("number %u", i);
	log_flush();
	cr_expect_not_null(strstr(text(), "number 0\n"));
	cr_expect_not_null(strstr(text(), "number 2500\n"));
	cr_expect_not_null(strstr(text(), "number 4999\n"));
	cr_expect_null(strstr(text(), "lost"));
}

/* Lines that pCPU 0 was not told of yet come out before its own later ones all the same. */
Test(percpu_log, own_room_keeps_the_order)
{
	start(3);
	for (unsigned i = 0; i < 3000; i++) {
		host_become(i < 300 ? 2 : i < 500 ? 1 : 0);
		host_clock_set((uint64_t)i * NS_PER_MS);
		while (!log_guest_line("g", "line", 4))
			cr_assert_geq(i, 500, "only pCPU 0 makes room");
		if (i == 600)
			cr_expect_str_eq(text(), "", "nothing has been drained");
	}
	cr_expect_gt(host_console_len(0), 0, "pCPU 0 made room");
	log_flush();
	for (unsigned i = 0; i < 3000; i++) {
		char want[64];
		int n = sprintf(want, "[%5u.%03u000] g| line\n", i / 1000, i % 1000);

		cr_assert_eq(strncmp(out + (size_t)i * (size_t)n, want, (size_t)n), 0,
			     "line %u: %.*s", i, n, out + (size_t)i * (size_t)n);
	}
}

/* pCPU 0's printk goes in even behind much that is older. */
Test(percpu_log, own_room_behind_others)
{
	start(4);
	for (unsigned i = 1; i < 4; i++) {
		host_become(i);
		while (log_guest_line("g", "older", 5))
			;
	}
	host_become(0);
	host_clock_set(NS_PER_MS);
	for (unsigned i = 0; i < 2000; i++)
		printk("number %u", i);
	log_flush();
	cr_expect_not_null(strstr(text(), "number 1999\n"));
	cr_expect_null(strstr(text(), "lost"));
}

Test(percpu_log, records)
{
	char big[8192];

	start(1);
	memset(big, 'b', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	cr_expect(record_printf("{\"a\":%d}", 1));
	cr_expect_not(record_printf("{\"a\":\"%s\"}", big), "too long: refused, not cut");
	big[4000] = '\0';
	cr_expect(record_printf("{\"a\":\"%s\"}", big));
	log_flush();
	cr_expect_eq(host_console_len(1), strlen("{\"a\":1}\n") + 4000 + strlen("{\"a\":\"\"}\n"));
	cr_expect_eq(strncmp(records, "{\"a\":1}\n{\"a\":\"bb", 16), 0);
}

Test(percpu_log, json_escape)
{
	char buf[32];

	cr_expect_str_eq(log_json_escape(buf, sizeof(buf), "a\"b\\c\n\x7f"),
			 "a\\\"b\\\\c\\u000a\\u007f");
	cr_expect_str_eq(log_json_escape(buf, 6, "abc\n"), "abc", "no half escapes");
	cr_expect_str_eq(log_json_escape(buf, 1, "abc"), "");
}

Test(percpu_log, panic_flush_from_any_cpu)
{
	start(3);
	host_become(2);
	printk("from two");
	host_become(1);
	printk("from one");
	log_panic_flush();
	cr_expect_not_null(strstr(text(), "from two\n"));
	cr_expect_not_null(strstr(text(), "from one\n"));
}

Test(percpu_log, before_there_are_pcpus)
{
	host_console_capture(0, out, sizeof(out) - 1);
	host_this_pcpu = NULL;
	printk("early");
	cr_expect_str_eq(text(), "early\n");
}

/* ---- threads ---- */

#define CPUS 4
#define LINES 4000

static _Atomic unsigned writing = CPUS;

/* pCPU 0 drains until all have written, and then the rest. */
static void writer_done(unsigned self)
{
	atomic_fetch_sub(&writing, 1);
	while (self == 0 && atomic_load(&writing))
		host_service();
	if (self == 0) {
		host_service();
		log_flush();
	}
}

static void writer_main(void *arg)
{
	unsigned self = this_pcpu()->id;
	char line[64], name[8];

	(void)arg;
	snprintf(name, sizeof(name), "g%u", self);
	for (unsigned i = 0; i < LINES; i++) {
		int n = snprintf(line, sizeof(line), "%u:%u", self, i);

		while (!log_guest_line(name, line, (size_t)n)) {
			host_service();
			sched_yield();
		}
		if (i % 16 == 0)
			host_service();
	}
	writer_done(self);
}

Test(percpu_log, stress_every_line_once_in_order)
{
	unsigned next[CPUS] = {0}, lines = 0;
	char *save = NULL;

	host_console_capture(0, out, sizeof(out) - 1);
	host_clock_virtual(false);
	host_threads_start(CPUS, writer_main, NULL);
	host_threads_join();
	text();
	for (char *l = strtok_r(out, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		unsigned who, cpu, seq;

		cr_assert_eq(sscanf(l, "[%*u.%*u] g%u| %u:%u", &who, &cpu, &seq), 3, "\"%s\"", l);
		cr_assert_eq(who, cpu);
		cr_assert_eq(seq, next[cpu]++, "cpu %u: line %u out of order", cpu, seq);
		lines++;
	}
	cr_expect_eq(lines, CPUS * LINES);
}

/* ---- one console whose drain moves from pCPU to pCPU ---- */

static _Atomic unsigned turn;

static void relay_main(void *arg)
{
	unsigned self = this_pcpu()->id, i;
	char line[16];

	(void)arg;
	while ((i = atomic_load(&turn)) < LINES) {
		int n = snprintf(line, sizeof(line), "%u", i);

		if (i * 7 % 11 % CPUS == self && log_guest_line("g", line, (size_t)n))
			atomic_store(&turn, i + 1);
		else
			sched_yield();
		if (self == 0)
			log_drain(); /* all the time, so also amid what others write */
		if (i % 16 == 0)
			host_service();
	}
	writer_done(self);
}

Test(percpu_log, stress_order_across_pcpus)
{
	char *save = NULL;
	unsigned next = 0;

	host_console_capture(0, out, sizeof(out) - 1);
	host_clock_virtual(false);
	host_threads_start(CPUS, relay_main, NULL);
	host_threads_join();
	text();
	for (char *l = strtok_r(out, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		unsigned seq;

		cr_assert_eq(sscanf(l, "[%*u.%*u] g| %u", &seq), 1, "\"%s\"", l);
		cr_assert_eq(seq, next, "line %u came after %u lines", seq, next);
		next++;
	}
	cr_expect_eq(next, LINES);
}
