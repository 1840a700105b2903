/* SPDX-License-Identifier: MIT */
/*
 * Hypercalls: the table, dispatch, continuations, multicall.
 *
 * Every do_xxx() acts on current_vcpu(), takes the guest's argument registers as uint64_t (pointers
 * are guest virtual addresses, to be read by copy_from_guest() only) and returns a non-negative
 * result, a negated XEN_Exxx, or -HC_CONTINUE.
 *
 * Continuation: a long hypercall polls preempt_pending(); when it is true it records where it got
 * with hypercall_set_arg() and returns -HC_CONTINUE. The guest's registers are then rewritten and
 * its instruction pointer moved back, so that it issues the call again after pending work and
 * events were served. Inside a multicall the entry's arguments are rewritten instead and the
 * multicall itself continues at that entry; the callee need not know.
 */
#ifndef CORE_HYPERCALL_H
#define CORE_HYPERCALL_H

#include "core/types.h"
#include "core/xen_errno.h"

#define HC_NR 64	   /* numbers at or above are unknown */
#define HC_CONTINUE 0x4000 /* returned negated; outside the errno range */

/*
 * (cur), in struct vcpu. The arguments that the continuation of the hypercall in progress will see;
 * those whose bit is not in @changed are still the guest's. In a multicall, all are the entry's.
 */
struct hypercall_state {
	uint64_t args[6];
	uint32_t changed;
};

typedef long (*hypercall_fn)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

/* All callees; NULL for numbers without one. */
extern const hypercall_fn hypercall_fns[HC_NR];

/**
 * hypercall_continues() - whether hypercall @nr returned @rc to be continued: then @args, which it
 * had, are replaced by those that it changed.
 */
bool hypercall_continues(uint64_t nr, long rc, uint64_t args[6]);

/**
 * hypercall_dispatch() - run hypercall @nr of the current vCPU.
 * @args: the six argument registers, in the ABI's order (rdi, rsi, rdx, r10, r8, r9 on x86).
 * Returns true with *@result what belongs into the guest's result register (-XEN_ENOSYS for an
 * unknown number); false when the call continues: arch_hypercall_restart() has been called and the
 * result register must be left alone.
 */
bool hypercall_dispatch(unsigned nr, const uint64_t args[6], long *result);

/**
 * hypercall_set_arg() - change argument @n (0 to 5) that the continuation will see. Only before
 * returning -HC_CONTINUE.
 */
void hypercall_set_arg(unsigned n, uint64_t value);

/** hypercall_name() - for traces and logs; "?" when there is none. */
const char *hypercall_name(unsigned nr);

/* core/hypercall.c */
long do_multicall(uint64_t list, uint64_t nr_calls);

/* core/hc_version.c */
long do_xen_version(uint64_t cmd, uint64_t arg);

/* core/hc_sched.c */
long do_sched_op(uint64_t cmd, uint64_t arg);
long do_sched_op_compat(uint64_t cmd, uint64_t arg);
long do_set_timer_op(uint64_t timeout);

/* core/hc_vcpu.c */
long do_vcpu_op(uint64_t cmd, uint64_t vcpuid, uint64_t arg);

/* core/hc_misc.c */
long do_vm_assist(uint64_t cmd, uint64_t type);
long do_console_io(uint64_t cmd, uint64_t count, uint64_t buffer);
long do_physdev_op(uint64_t cmd, uint64_t arg);
long do_physdev_op_compat(uint64_t op);
long do_platform_op(uint64_t op);
long do_sysctl(uint64_t op);
long do_domctl(uint64_t op);
long do_grant_table_op(uint64_t cmd, uint64_t uop, uint64_t count);

/* memsvc/ */
long do_mmu_update(uint64_t reqs, uint64_t count, uint64_t pdone, uint64_t foreigndom);
long do_update_va_mapping(uint64_t va, uint64_t val, uint64_t flags);
long do_update_va_mapping_otherdomain(uint64_t va, uint64_t val, uint64_t flags, uint64_t domid);
long do_mmuext_op(uint64_t ops, uint64_t count, uint64_t pdone, uint64_t foreigndom);
long do_memory_op(uint64_t cmd, uint64_t arg);

/* core/hc_evtchn.c */
long do_event_channel_op(uint64_t cmd, uint64_t arg);
long do_event_channel_op_compat(uint64_t op);

/* core/hc_xylem.c */
long do_arch_7(uint64_t cmd, uint64_t arg);

/* core/x86; host: core/host/hc_stubs.c */
long do_set_trap_table(uint64_t traps);
long do_set_gdt(uint64_t frame_list, uint64_t entries);
long do_stack_switch(uint64_t ss, uint64_t esp);
long do_set_callbacks(uint64_t event, uint64_t failsafe, uint64_t syscall);
long do_fpu_taskswitch(uint64_t set);
long do_set_debugreg(uint64_t reg, uint64_t value);
long do_get_debugreg(uint64_t reg);
long do_update_descriptor(uint64_t maddr, uint64_t desc);
long do_iret(void);
long do_set_segment_base(uint64_t which, uint64_t base);
long do_nmi_op(uint64_t cmd, uint64_t arg);
long do_callback_op(uint64_t cmd, uint64_t arg);

#endif
