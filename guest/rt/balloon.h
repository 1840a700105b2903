/* SPDX-License-Identifier: MIT */
/*
 * The balloon: free pages given up to the hypervisor when it asks for them
 * (VIRQ_ARCH_0, then a read of the target by the control hypercall) and taken
 * back when it asks for less. A page that is given up keeps its pfn and loses
 * its mapping, its frame and what was in it.
 *
 * Only free pages go. A role that holds pages which it can do without looks at
 * balloon_deficit() now and then, frees some, and calls balloon_adjust().
 */
#ifndef MINI_BALLOON_H
#define MINI_BALLOON_H

#include "rt/base.h"

#define BALLOON_RESERVE 64UL /* free pages that the balloon leaves to the runtime */

/* Follow the hypervisor's target from now on, if it has one. After events_init() and mem_init(). */
void balloon_init(void);

/* The guest's own wish, in pages: the larger of it and the hypervisor's target counts. */
void balloon_ask(unsigned long pages);

/* Move towards the target as far as free pages allow. Any vCPU, any context. */
void balloon_adjust(void);

/*
 * The allocator has nothing left: make the balloon give some back, and hold
 * that against its target until the next target comes. False if it can't.
 */
bool balloon_relieve(void);

/* Pages given up now. */
unsigned long balloon_pages(void);
/* Pages that are still to be given up, for which there was nothing free. */
unsigned long balloon_deficit(void);
/* Pages given up and taken back so far. */
void balloon_totals(unsigned long *out, unsigned long *in);

#endif
