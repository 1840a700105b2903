/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "hogs.h"
#include "ops.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define BOMB 150 /* processes at once */
#define CHUNK (1UL << 20)
#define SPARSE (2UL << 20) /* what one page table maps */
#define TABLES 128

static void hog_cpu(void)
{
	for (uint64_t x = 1;; x = x * 6364136223846793005ULL + 1)
		__asm__ volatile("" : "+r"(x));
}

/* Waits for children for ever, and has @again begin when there is none. */
static void keep_up(void (*again)(void))
{
	for (;;) {
		pid_t pid = fork();

		if (!pid) {
			again();
			_exit(0);
		}
		while (wait(NULL) > 0)
			;
	}
}

/*
 * Every process forks until it may not; then it ends, and what was its place is another's. As an
 * ordinary user, whom the limit holds for.
 */
static void bomb(void)
{
	struct rlimit most = {BOMB, BOMB};

	signal(SIGCHLD, SIG_IGN);
	if (setrlimit(RLIMIT_NPROC, &most) || setuid(65534))
		die("limits");
	while (fork() >= 0)
		;
}

static void hog_forks(void)
{
	keep_up(bomb);
}

static unsigned long available_kib(void)
{
	char text[512], *found;
	int fd = open("/proc/meminfo", O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n < 0)
		die("/proc/meminfo");
	close(fd);
	text[n] = 0;
	found = strstr(text, "MemAvailable:");
	return found ? strtoul(found + strlen("MemAvailable:"), NULL, 10) : 0;
}

struct chunk {
	struct chunk *next;
	uint64_t word[PAGE / 8 - 1];
};

static void write_all(struct chunk *list, uint64_t x)
{
	for (; list; list = list->next)
		for (unsigned long at = 0; at < CHUNK; at += PAGE)
			*(uint64_t *)((char *)list + at + PAGE / 2) = x++ * 0x9e3779b97f4a7c15UL;
}

/* Fills memory, writes to all of it over and over, and then takes more until the kernel kills it. */
static void fill(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY);
	struct chunk *list = NULL;

	if (fd < 0 || write(fd, "1000", 4) != 4)
		die("oom_score_adj");
	for (unsigned long pass = 0;; pass++) {
		while (available_kib() > 4096 || pass > 200) {
			struct chunk *chunk =
				mmap(NULL, CHUNK, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

			if (chunk == MAP_FAILED)
				break;
			chunk->next = list;
			list = chunk;
		}
		write_all(list, pass << 32);
	}
}

static void hog_memory(void)
{
	keep_up(fill);
}

static void nothing(int sig)
{
	(void)sig;
}

/* Two processes that wake each other, a timer that fires all the time, signals. */
static void flood(void)
{
	struct itimerval every = {{0, 100}, {0, 100}};
	struct sigaction act = {.sa_handler = nothing, .sa_flags = SA_RESTART};

	pipes_open();
	echo_start();
	sigaction(SIGALRM, &act, NULL);
	sigaction(SIGUSR1, &act, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	for (;;) {
		ping();
		kill(getpid(), SIGUSR1);
	}
}

static void hog_events(void)
{
	for (int i = 0; i < 3; i++)
		if (!fork())
			flood();
	flood();
}

/* Page tables made, filled, write-protected, copied by a fork and thrown away. */
static void hog_tables(void)
{
	for (;;) {
		char *at = mmap(NULL, TABLES * SPARSE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (at == MAP_FAILED)
			die("mmap");
		for (unsigned long i = 0; i < TABLES; i++)
			at[i * SPARSE] = 1;
		mprotect(at, TABLES * SPARSE, PROT_READ);
		fork_exit();
		mprotect(at, TABLES * SPARSE, PROT_READ | PROT_WRITE);
		for (unsigned long i = 0; i < TABLES; i++)
			at[i * SPARSE] = 2;
		munmap(at, TABLES * SPARSE);
	}
}

static const struct {
	const char *name;
	void (*run)(void);
} hogs[] = {
	{"cpu", hog_cpu},	{"forks", hog_forks},	{"memory", hog_memory},
	{"events", hog_events}, {"tables", hog_tables},
};

void hog(const char *mode)
{
	for (unsigned i = 0; i < sizeof(hogs) / sizeof(*hogs); i++)
		if (!strcmp(hogs[i].name, mode)) {
			printf("load: hog mode=%s ms=%lu\n", mode,
			       (unsigned long)(ticks() / 1000000));
			fflush(stdout);
			hogs[i].run();
		}
	die("unknown load=");
	__builtin_unreachable();
}
