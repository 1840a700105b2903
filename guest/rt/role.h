/* SPDX-License-Identifier: MIT */
/*
 * Roles: what a mini-guest does. The command line `role=NAME key=val ...`
 * picks one from the table in roles/roles.c.
 */
#ifndef MINI_ROLE_H
#define MINI_ROLE_H

#include "rt/base.h"
#include "rt/console.h"

struct role {
	const char *name;
	void (*run)(void);
};

extern const struct role roles[];
extern const char *role_name;

/* End the domain: a last line, then power-off. */
void role_pass(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* End the domain: a last line, then crash. */
void role_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
#define panic(...) role_fail("panic: " __VA_ARGS__)
void role_shutdown(unsigned int reason) __attribute__((noreturn));

#define CHECK(cond, fmt, ...)                                                 \
	do {                                                                  \
		if (!(cond))                                                  \
			role_fail("%s:%d: %s: " fmt, __FILE_NAME__, __LINE__, \
				  #cond __VA_OPT__(, ) __VA_ARGS__);          \
	} while (0)

#define CHECK_EQ(got, want, what)                                                            \
	do {                                                                                 \
		long got_ = (long)(got), want_ = (long)(want);                               \
		if (got_ != want_)                                                           \
			role_fail("%s:%d: %s: got %ld (%lx), want %ld (%lx)", __FILE_NAME__, \
				  __LINE__, what, got_, got_, want_, want_);                 \
	} while (0)

/* Command-line values. */
uint64_t arg_num(const char *key, uint64_t dflt);
const char *arg_str(const char *key, const char *dflt);
void cmdline_init(const char *cmdline);

/* Random numbers, seeded by `seed=`, which rnd_init() prints: a sequence for each vCPU. */
uint64_t rnd_init(void);
uint64_t rnd(void);
/* Go on from here on this vCPU. */
void rnd_set(uint64_t state);
/* splitmix64's finalizer: numbers that look random, made of any that do not. */
static inline uint64_t mix64(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

#endif
