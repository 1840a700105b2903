/* SPDX-License-Identifier: MIT */
/* What Linux programs do all the time, for the guests that measure it or do it as a load. */
#ifndef GUEST_LINUX_OPS_H
#define GUEST_LINUX_OPS_H

#include <stdint.h>
#include <sys/types.h>

#define PAGE 4096UL
#define PAGES 64 /* of map() */

/* Under QEMU's -icount shift=n a tick of the TSC is a nanosecond and 2^-n instructions. */
static inline uint64_t ticks(void)
{
	uint32_t lo, hi;

	__asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi)::"memory");
	return (uint64_t)hi << 32 | lo;
}

/* Prefix of the guest's lines: "bench", ... */
extern const char *const guest_name;

/* Says so and ends the guest. */
__attribute__((noreturn)) void die(const char *what);
void power_off(void);

extern int there[2], back[2]; /* pipes, once pipes_open() has been called */
void pipes_open(void);

/* Operations; each dies when it fails. */
void null_call(void);
void map(void); /* PAGES of anonymous memory, at `area` */
void unmap(void);
void touch_all(void);
void map_unmap(void);
void map_touch_unmap(void);
void fork_exit(void);
void fork_exec(void); /* "/init exit", which must do nothing but end with status 0 */
void pipe_self(void);
void ping(void); /* a byte to the process of echo_start() and back */
extern void *area;

/* A process that sends back what it reads. */
pid_t echo_start(void);
void stop(pid_t pid);
void reap(pid_t pid, const char *what);

#endif
