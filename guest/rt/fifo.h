/* SPDX-License-Identifier: MIT */
/* The consumer's side of the FIFO event-channel ABI (xen/event_channel.h). */
#ifndef MINI_FIFO_H
#define MINI_FIFO_H

#include "rt/cpu.h"

void fifo_handle(struct cpu *c, void (*dispatch)(uint32_t port));
void fifo_mask(uint32_t port);
bool fifo_pending(uint32_t port);
bool fifo_masked(uint32_t port);
void fifo_clear(uint32_t port);
/* See that a bound port has an event word: without one its unmasking is lost. Any vCPU. */
long fifo_reach(uint32_t port);
/* Give this vCPU its control block. */
long fifo_init_vcpu(unsigned int vcpu);

#endif
