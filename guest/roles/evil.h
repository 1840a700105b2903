/* SPDX-License-Identifier: MIT */
/* The antagonist's modes; each returns if it survived what it did. */
#ifndef MINI_ROLES_EVIL_H
#define MINI_ROLES_EVIL_H

#include "rt/base.h"

void evil_hypercalls(void); /* every hypercall, random arguments */
/* One of them on this vCPU, after _init() there; its number (64: none was fit) and result. */
void evil_hypercalls_init(void);
unsigned int evil_hypercall(long *rc, bool trace);
void evil_maps(void);	 /* map what is not its own */
void evil_ptwrite(void); /* page tables written behind the hypervisor's back */
void evil_priv(void);	 /* every privileged instruction */
void evil_badiret(void); /* return to nowhere */
void evil_badgdt(void);	 /* descriptors of other rings */
void evil_gdtrace(void); /* descriptor tables changed by all vCPUs at once */
void evil_oom(void);	 /* more memory, ports and timers than allowed */

/* A page number no machine of these tests has. */
#define NO_MFN 0xfffffffUL

#endif
