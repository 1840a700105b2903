/* SPDX-License-Identifier: MIT */
/*
 * PID 1 of a Linux guest that is a load for others, or whose progress under load is measured. Words
 * of the kernel's command line that the kernel does not know are in our environment: load=work
 * does, in a fixed mix, what Linux programs do (compute, system calls, mappings and page faults,
 * pipes and switches, processes, programs, an interval timer) and counts units from from_ms= on for
 * secs= seconds of the TSC, which all guests share, and goes on for tail= more. Any other load= is
 * one of hogs[], which begins at from_ms= and never ends.
 */
#define _GNU_SOURCE
#include "hogs.h"
#include "ops.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000UL /* ticks() under -icount */

const char *const guest_name = "load";

static unsigned long word(const char *name)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 10) : 0;
}

static void compute(void)
{
	uint64_t x = 1;

	for (int i = 0; i < 100; i++) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		__asm__ volatile("" : "+r"(x));
	}
}

/* A unit is about a quarter of a million instructions. */
static const struct {
	void (*op)(void);
	unsigned times, units;
} mix[] = {
	{compute, 2400, 4}, {null_call, 700, 2}, {map_touch_unmap, 2, 6}, {ping, 30, 2},
	{fork_exit, 1, 2},  {map_unmap, 22, 2},	 {fork_exec, 1, 6},
};

/* Goes through the mix until @end; of the step that is under way then, half counts. */
static unsigned long work_until(uint64_t end)
{
	static unsigned next;
	unsigned long n = 0;

	for (;;) {
		for (unsigned i = 0; i < mix[next].times; i++)
			mix[next].op();
		if (ticks() >= end)
			return n + mix[next].units / 2;
		n += mix[next].units;
		next = (next + 1) % (sizeof(mix) / sizeof(*mix));
	}
}

/* Time in which we wanted to run and others did, to 10 ms. */
static uint64_t stolen_ns(void)
{
	unsigned long value[8];
	FILE *stat = fopen("/proc/stat", "r");
	int n = stat ? fscanf(stat, "cpu %lu %lu %lu %lu %lu %lu %lu %lu", &value[0], &value[1],
			      &value[2], &value[3], &value[4], &value[5], &value[6], &value[7])
		     : 0;

	if (n != 8)
		die("/proc/stat");
	fclose(stat);
	return value[7] * 10000000UL;
}

static unsigned long alarms;

static void on_alarm(int sig)
{
	(void)sig;
	alarms++;
}

static void tick_every_5_ms(void)
{
	struct itimerval every = {{0, 5000}, {0, 5000}};
	struct sigaction act = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};

	if (sigaction(SIGALRM, &act, NULL) || setitimer(ITIMER_REAL, &every, NULL))
		die("timer");
}

static void sleep_until(uint64_t when)
{
	for (uint64_t now; (now = ticks()) < when;) {
		struct timespec ts = {(long)((when - now) / 1000000000),
				      (long)((when - now) % 1000000000)};

		nanosleep(&ts, NULL);
	}
}

static void work(uint64_t start)
{
	uint64_t end = start + word("secs") * 1000 * MS, stolen;
	unsigned long units;

	pipes_open();
	echo_start();
	if (ticks() >= start)
		die("up after from_ms=");
	sleep_until(start);
	tick_every_5_ms();
	stolen = stolen_ns();
	units = work_until(end);
	stolen = stolen_ns() - stolen;
	work_until(end + word("tail") * 1000 * MS);
	printf("load: PASS role=work units=%lu running_ns=%lu alarms=%lu\n", units,
	       (unsigned long)(end - start > stolen ? end - start - stolen : 0), alarms);
}

/* What one of each operation costs alone, to choose the mix by. */
static void cost(void)
{
	pipes_open();
	echo_start();
	for (unsigned i = 0; i < sizeof(mix) / sizeof(*mix); i++) {
		uint64_t start = ticks();

		for (unsigned n = 0; n < 4 * mix[i].times; n++)
			mix[i].op();
		printf("load: step %u ns=%lu\n", i, (unsigned long)(ticks() - start) / 4);
	}
}

int main(int argc, char **argv)
{
	const char *load = getenv("load");
	uint64_t now = ticks(), start = word("from_ms") * MS;
	struct timespec up;

	if (argc > 1 && !strcmp(argv[1], "exit"))
		return 0;
	mkdir("/proc", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	clock_gettime(CLOCK_BOOTTIME, &up);
	printf("xylem-userspace %ld.%02ld\nload: ready ms=%lu\n", (long)up.tv_sec,
	       up.tv_nsec / 10000000, (unsigned long)(now / MS));
	fflush(stdout);
	if (!load)
		die("no load=");
	if (!strcmp(load, "work")) {
		work(start);
	} else if (!strcmp(load, "cost")) {
		cost();
	} else {
		sleep_until(start);
		hog(load);
	}
	power_off();
	return 1;
}
