/* SPDX-License-Identifier: MIT */
#ifndef CORE_VCPU_AREA_H
#define CORE_VCPU_AREA_H

#include "core/domain.h"
#include "core/vcpu_timer.h"

/**
 * vcpu_runstate_write() - write @rs at guest address @gva of the current vCPU, by the protocol
 * that domain @d chose with vm_assist. 0 or -XEN_EFAULT.
 */
int vcpu_runstate_write(const struct domain *d, const struct sched_runstate *rs, uint64_t gva);

#endif
