/* SPDX-License-Identifier: MIT */
/* Set-up of memsvc/swap_pump.c; its use is in swap.h. */
#ifndef MEMSVC_SWAP_PUMP_H
#define MEMSVC_SWAP_PUMP_H

/** swap_pump_init() - for pCPUs 0..@pcpus-1. Boot. 0 or -XEN_ENOMEM. */
int swap_pump_init(unsigned pcpus);

#endif
