/* SPDX-License-Identifier: MIT */
/* A vCPU that touched memory while the host has none to give. */
#ifndef CORE_MEMORY_WAIT_H
#define CORE_MEMORY_WAIT_H

#include "core/domain.h"

/**
 * memory_wait() - the current vCPU @v sleeps a moment and then runs its instruction again, until
 * the memory policy has made room; a domain that waits too long in one go is ended with a reason.
 * Exit path of a guest's fault.
 */
void memory_wait(struct vcpu *v);

#endif
