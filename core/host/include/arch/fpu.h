/* SPDX-License-Identifier: MIT */
/* A host thread may use vector registers at any time. */
#ifndef ARCH_FPU_H
#define ARCH_FPU_H

struct fpu_loan {
	char none;
};

static inline void fpu_borrow(struct fpu_loan *l)
{
	l->none = 0;
}

static inline void fpu_return(const struct fpu_loan *l)
{
	(void)l;
}

#endif
