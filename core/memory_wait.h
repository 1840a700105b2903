/* SPDX-License-Identifier: MIT */
/* A vCPU that touched memory while the host has none to give. */
#ifndef CORE_MEMORY_WAIT_H
#define CORE_MEMORY_WAIT_H

#include "core/domain.h"

/**
 * memory_wait() - the current vCPU @v, for whose access to @va there is no frame, sleeps a moment and
 * then runs its instruction again, until the memory policy has made room. A domain that waits for
 * one address too long, when no more room can be made, is ended with a reason. Exit path of a
 * guest's fault.
 */
void memory_wait(struct vcpu *v, uint64_t va);

#endif
