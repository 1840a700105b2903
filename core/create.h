/* SPDX-License-Identifier: MIT */
/*
 * Domains made and ended while others run, on the control stream:
 *
 *	create NAME LIKE [WORD...]	a guest called NAME as the configuration has LIKE, with the
 *					words added to its command line
 *	destroy NAME			end a guest at once
 *
 * A domain made so is built like those of the configuration and gives back everything at its end;
 * its name is free again once its `end` record is out. The machine ends when no domain is left, so
 * one must run all the time.
 */
#ifndef CORE_CREATE_H
#define CORE_CREATE_H

#include "core/types.h"

/** create_start() - from domains_boot(), before the control stream is read. pCPU 0, once. */
void create_start(void);

/**
 * create_request() - begin to make guest @name like the configuration's @like, its command line
 * extended by @words. The answer to control line @id is written when it runs, or could not be
 * made. pCPU 0.
 * Returns 0, or a negated errno with one line in @why; then there is no other answer.
 */
int create_request(uint64_t id, const char *name, const char *like, char *const words[], unsigned n,
		   char *why, size_t why_len);

/** create_destroy() - end the running guest @name. 0 or -XEN_ESRCH. RCU section, any pCPU. */
int create_destroy(const char *name);

/** create_failures() - domains made so that crashed or were killed, so far. Any pCPU. */
unsigned create_failures(void);

/** create_alive() - those that hold memory still: being built, running, being torn down. pCPU 0. */
unsigned create_alive(void);

#endif
