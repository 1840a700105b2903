/* SPDX-License-Identifier: MIT */
/* Debug registers of a vCPU; the other hypercalls of pvcpu.c are declared in core/hypercall.h. */
#ifndef X86_PVCPU_H
#define X86_PVCPU_H

#include "core/domain.h"

/** pvcpu_set_debugreg() - 0 to 7; 0, -XEN_EPERM (not for guests) or -XEN_EINVAL. */
long pvcpu_set_debugreg(struct vcpu *v, unsigned reg, uint64_t value);

/** pvcpu_debug_switch() - put @v's breakpoints into the hardware, if it has any. */
void pvcpu_debug_switch(struct vcpu *v);

#endif
