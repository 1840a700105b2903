/* SPDX-License-Identifier: MIT */
/* A vCPU that touched memory while the host has none to give. */
#ifndef CORE_MEMORY_WAIT_H
#define CORE_MEMORY_WAIT_H

#include "core/domain.h"
#include "percpu/pcpu.h"

/**
 * memory_wait() - the current vCPU @v, for whose access to @va there is no frame, sleeps a moment and
 * then runs its instruction again, until the memory policy has made room. A domain that waits for
 * one address too long, when no more room can be made, is ended with a reason. Exit path of a
 * guest's fault.
 */
void memory_wait(struct vcpu *v, uint64_t va);

/**
 * memory_wait_reserve() - refill pCPU @p's reserve of frames (percpu/page_cache.h). True: a guest can
 * be entered, or there is none to be. False: there are too few for what the hypervisor may need to
 * do for one; the current vCPU, with all that is due to it, sleeps a moment, and work is set. Exit
 * path.
 */
bool memory_wait_reserve(struct pcpu *p);

#endif
