/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "ops.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

void power_off(void)
{
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	exit(1);
}

void die(const char *what)
{
	printf("%s: FAIL %s\n", guest_name, what);
	power_off();
	__builtin_unreachable();
}

void null_call(void)
{
	syscall(SYS_getppid);
}

void *area;

void map(void)
{
	area = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		die("mmap");
}

void unmap(void)
{
	munmap(area, PAGES * PAGE);
}

void map_unmap(void)
{
	map();
	unmap();
}

void touch_all(void)
{
	for (unsigned i = 0; i < PAGES; i++)
		((volatile char *)area)[i * PAGE] = 1;
}

void map_touch_unmap(void)
{
	map();
	touch_all();
	unmap();
}

void reap(pid_t pid, const char *what)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		die(what);
}

void fork_exit(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	reap(pid, "fork");
}

void fork_exec(void)
{
	static char *const args[] = {"/init", "exit", NULL}, *const env[] = {NULL};
	pid_t pid = fork();

	if (!pid) {
		execve(args[0], args, env);
		_exit(1);
	}
	reap(pid, "fork and exec");
}

int there[2], back[2];

void pipes_open(void)
{
	if (pipe(there) || pipe(back))
		die("pipe");
}

void pipe_self(void)
{
	char c = 0;

	if (write(there[1], &c, 1) != 1 || read(there[0], &c, 1) != 1)
		die("pipe");
}

void ping(void)
{
	char c = 0;

	if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1)
		die("ping");
}

pid_t echo_start(void)
{
	pid_t pid = fork();
	char c;

	if (pid < 0)
		die("fork");
	if (!pid) {
		while (read(there[0], &c, 1) == 1)
			if (write(back[1], &c, 1) != 1)
				break;
		_exit(0);
	}
	return pid;
}

void stop(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}
