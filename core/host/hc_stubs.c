/* SPDX-License-Identifier: MIT */
/* Hypercalls about CPU state, which the host build's vCPUs do not have: refused. */
#include "core/hypercall.h"

#define REFUSE0(name)               \
	long name(void)             \
	{                           \
		return -XEN_ENOSYS; \
	}
#define REFUSE1(name)               \
	long name(uint64_t a)       \
	{                           \
		(void)a;            \
		return -XEN_ENOSYS; \
	}
#define REFUSE2(name)                     \
	long name(uint64_t a, uint64_t b) \
	{                                 \
		(void)a;                  \
		(void)b;                  \
		return -XEN_ENOSYS;       \
	}

REFUSE1(do_set_trap_table)
REFUSE2(do_set_gdt)
REFUSE2(do_stack_switch)
REFUSE1(do_fpu_taskswitch)
REFUSE2(do_set_debugreg)
REFUSE1(do_get_debugreg)
REFUSE2(do_update_descriptor)
REFUSE0(do_iret)
REFUSE2(do_set_segment_base)
REFUSE2(do_nmi_op)
REFUSE2(do_callback_op)

long do_set_callbacks(uint64_t event, uint64_t failsafe, uint64_t syscall)
{
	(void)event;
	(void)failsafe;
	(void)syscall;
	return -XEN_ENOSYS;
}
