/* SPDX-License-Identifier: MIT */
/*
 * PID 1 of a Linux guest that measures what Linux programs do all the time. The clock is the TSC,
 * which under QEMU's -icount shift=0 counts instructions; of several batches the median is told, in
 * the mini guests' form: `bench: per= n= median= min= max= name=...`.
 */
#define _GNU_SOURCE
#include "ops.h"
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCHES 11

const char *const guest_name = "bench";

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void tell(const char *name, unsigned per, uint64_t *t, unsigned n)
{
	qsort(t, n, sizeof(*t), by_value);
	printf("bench: per=%u n=%u median=%lu min=%lu max=%lu name=%s\n", per, n,
	       (unsigned long)t[n / 2], (unsigned long)t[0], (unsigned long)t[n - 1], name);
	fflush(stdout);
}

/* Batches of @n operations; the first one only warms up. */
static void run(const char *name, unsigned n, void (*op)(void))
{
	uint64_t t[BATCHES];

	for (int b = -1; b < BATCHES; b++) {
		uint64_t start = ticks();

		for (unsigned i = 0; i < n; i++)
			op();
		if (b >= 0)
			t[b] = ticks() - start;
	}
	tell(name, n, t, BATCHES);
}

/* First touches alone, without the mapping and unmapping around them. */
static void faults(void)
{
	uint64_t t[BATCHES];

	for (int b = -1; b < BATCHES; b++) {
		uint64_t start, end;

		map();
		start = ticks();
		touch_all();
		end = ticks();
		unmap();
		if (b >= 0)
			t[b] = end - start;
	}
	tell("linux: page fault, anonymous memory", PAGES, t, BATCHES);
}

static void protect(void)
{
	mprotect(area, PAGE, PROT_READ);
	mprotect(area, PAGE, PROT_READ | PROT_WRITE);
	*(volatile char *)area = 1;
}

/* Two processes pass a byte to and fro: a switch each way. */
static void switches(void)
{
	pid_t pid = echo_start();

	run("linux: context switch to another process and back, by pipes", 500, ping);
	stop(pid);
}

static void yield(void)
{
	sched_yield();
}

static void yields(void)
{
	pid_t pid = fork();

	if (!pid)
		for (;;)
			sched_yield();
	run("linux: sched_yield to another process and back", 500, yield);
	stop(pid);
}

static void on_signal(int sig)
{
	(void)sig;
}

static void raise_signal(void)
{
	kill(getpid(), SIGUSR1);
}

static void compile_one(const char *in, const char *out)
{
	char *args[] = {"/usr/bin/tcc", "-nostdinc", "-I/src",	 "-c",
			"-o",		(char *)out, (char *)in, NULL};
	char *env[] = {"PATH=/usr/bin", NULL};
	pid_t pid = fork();

	if (!pid) {
		execve(args[0], args, env);
		_exit(127);
	}
	reap(pid, "compile");
}

/* Every C file in /src, as make would: a process each. */
static void compile(void)
{
	uint64_t t[3];
	unsigned files = 0;

	if (access("/usr/bin/tcc", X_OK))
		return;
	mkdir("/obj", 0755);
	for (int b = -1; b < 3; b++) {
		DIR *dir = opendir("/src");
		struct dirent *e;
		uint64_t start;

		if (!dir)
			die("/src");
		files = 0;
		start = ticks();
		while ((e = readdir(dir))) {
			size_t len = strlen(e->d_name);
			char in[300], out[300];

			if (len < 3 || strcmp(e->d_name + len - 2, ".c"))
				continue;
			snprintf(in, sizeof(in), "/src/%s", e->d_name);
			snprintf(out, sizeof(out), "/obj/%.*s.o", (int)len - 2, e->d_name);
			compile_one(in, out);
			files++;
		}
		if (b >= 0)
			t[b] = ticks() - start;
		closedir(dir);
	}
	if (!files)
		die("no C files");
	tell("linux: compile of a small C tree, per file", files, t, 3);
}

int main(int argc, char **argv)
{
	uint64_t boot = ticks(), up;
	struct timespec ts;

	if (argc > 1 && !strcmp(argv[1], "exit"))
		return 0;
	clock_gettime(CLOCK_BOOTTIME, &ts);
	up = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
	tell("linux: boot, from power-on to userspace", 1, &boot, 1);
	tell("linux: boot, from the kernel's clock to userspace", 1, &up, 1);
	pipes_open();
	signal(SIGUSR1, on_signal);
	run("linux: system call", 2000, null_call);
	faults();
	run("linux: mmap and munmap of 64 pages", 200, map_unmap);
	run("linux: mmap, touch and munmap 64 pages", 20, map_touch_unmap);
	map();
	run("linux: mprotect there and back, and a store", 200, protect);
	unmap();
	run("linux: signal to itself and handled", 500, raise_signal);
	run("linux: pipe, a byte written and read", 500, pipe_self);
	switches();
	yields();
	run("linux: fork, exit and wait", 20, fork_exit);
	run("linux: fork, exec, exit and wait", 20, fork_exec);
	compile();
	printf("bench: done\n");
	power_off();
	return 0;
}
