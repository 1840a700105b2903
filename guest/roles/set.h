/* SPDX-License-Identifier: MIT */
/*
 * A set of held pages, each with content that no other page has, half of it
 * compressible. What the guest can do without when its balloon is asked for
 * more: pages go from the end of the set, the longest unused ones.
 */
#ifndef MINI_ROLES_SET_H
#define MINI_ROLES_SET_H

#include "rt/base.h"

/* Make room for `max` pages, and hold as many of them as memory allows. Takes a while: the host
 * gets time to say that there is no more. */
void set_init(unsigned long max, uint64_t seed);

/* Pages held now. */
unsigned long set_size(void);

/* Give up what the balloon asks for, or hold a few more of `want` pages if there is memory again.
 * To be called now and then. */
void set_follow(unsigned long want);

/* Check page i's marks, and write to it; a wrong byte fails the role. */
void set_touch(unsigned long i, bool write);

/* Check all of page i. */
void set_verify(unsigned long i);

#endif
