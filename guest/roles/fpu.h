/* SPDX-License-Identifier: MIT */
#ifndef MINI_ROLES_FPU_H
#define MINI_ROLES_FPU_H

/* Each vCPU holds its own pattern in its FPU and vector registers over switches. */
void fpu_test(unsigned long rounds);

#endif
