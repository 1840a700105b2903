/* SPDX-License-Identifier: MIT */
/*
 * Paravirtual CPU: what the guest kernel sees as exceptions, events and iret. Everything here acts
 * on the current vCPU, whose registers are guest_regs().
 */
#ifndef X86_PV_H
#define X86_PV_H

#include <arch/cpu.h>
#include <arch/vcpu.h>

#include "core/domain.h"

/**
 * pv_inject() - enter the guest's handler of exception @vector. @error is pushed when @has_error. The guest
 * resumes in kernel mode at the handler; no handler, or an unusable stack, ends the domain.
 */
void pv_inject(struct vcpu *v, unsigned vector, bool has_error, uint32_t error);

/** pv_trap() - the guest's handler of @vector, with address 0 if it has none. */
const struct trap_info *pv_trap(struct vcpu *v, uint8_t vector);

/** pv_set_trap() - @ti becomes the handler of its vector, at ring 3. 0 or -XEN_ENOMEM. */
int pv_set_trap(struct vcpu *v, const struct trap_info *ti);

/** pv_clear_traps() - there are no handlers. */
void pv_clear_traps(struct vcpu *v);

/** pv_inject_int() - INT n: enter @ti, a handler that there is. */
void pv_inject_int(struct vcpu *v, const struct trap_info *ti);

/** pv_inject_pf() - page fault: CR2 into vcpu_info, then pv_inject(). */
void pv_inject_pf(struct vcpu *v, uint64_t cr2, uint32_t error);

/** pv_deliver_events() - enter the event callback (or NMI) if one is due and not masked. */
void pv_deliver_events(struct vcpu *v);

/** pv_failsafe() - the failsafe callback: a selector could not be loaded. guest_regs() has the data
 * selectors that go into its frame. */
void pv_failsafe(struct vcpu *v);

/** pv_syscall() - SYSCALL from guest user mode: enter the guest kernel's handler @cb; #UD at the
 * instruction when it has none. */
void pv_syscall(struct vcpu *v, const struct pv_callback *cb);

/** pv_toggle_mode() - guest kernel to user or back: segment bases and CR3. */
void pv_toggle_mode(struct vcpu *v);

/** pv_load_root() - load CR3 for the mode the vCPU is in. */
void pv_load_root(struct vcpu *v);

/** pv_fix_selectors() - force ring 3 on the code and stack selectors of @regs. */
static inline void pv_fix_selectors(struct cpu_user_regs *regs)
{
	regs->cs |= 3;
	regs->ss |= 3;
}

/** pv_sysret_ok() - may this return use SYSRET? With a rip that is not canonical it would fault in
 * ring 0 on the guest's stack. */
static inline bool pv_sysret_ok(const struct cpu_user_regs *r)
{
	return (r->entry_vector & TRAP_SYSCALL) && (int64_t)(r->rip << 16) >> 16 == (int64_t)r->rip;
}

#endif
