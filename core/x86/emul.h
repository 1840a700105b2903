/* SPDX-License-Identifier: MIT */
/*
 * Emulation of what a PV guest kernel may not do itself in ring 3. Policy as Xen's for a domU: the
 * guest gets what it may have, the rest is a fault in the guest, never in the hypervisor.
 */
#ifndef CORE_X86_EMUL_H
#define CORE_X86_EMUL_H

#include "core/types.h"

#include <xen/xen.h>

struct vcpu;

enum emul_status {
	EMUL_DONE,  /* emulated; rip is past the instruction */
	EMUL_FAULT, /* inject .vector with .error (and .cr2 when #PF) into the guest; rip is kept */
	EMUL_NOT,   /* not one of ours: deliver the original trap as it came */
	EMUL_RETRY  /* the world changed, or nothing to do: return to the guest, rip is kept */
};

struct emul_result {
	uint8_t status; /* enum emul_status */
	uint8_t vector;
	uint32_t error;
	uint64_t cr2;
};

#define EMUL_OK ((struct emul_result){.status = EMUL_DONE})
#define EMUL_EXC(v, e) ((struct emul_result){.status = EMUL_FAULT, .vector = (v), .error = (e)})
#define EMUL_GP EMUL_EXC(13, 0)
#define EMUL_UD EMUL_EXC(6, 0)

/**
 * emul_privop() - #GP with error code 0 (or #UD for the forced-CPUID prefix, see emul_ud()) in
 * guest mode: emulate the instruction at rip. @v is current, its guest context loaded.
 * @kernel: the guest was in its kernel mode. Linear rip: cs is a flat 64-bit code segment.
 */
struct emul_result emul_privop(struct vcpu *v, struct cpu_user_regs *regs, bool kernel);

/** emul_ud() - #UD in guest mode: emulates `ud2a "xen" cpuid` only, else EMUL_NOT. */
struct emul_result emul_ud(struct vcpu *v, struct cpu_user_regs *regs);

/* The parts, one file each; emul_privop() calls them with the decoded instruction. */
struct insn;
struct emul_result emul_cr(struct vcpu *v, struct cpu_user_regs *regs, const struct insn *in);
struct emul_result emul_dr(struct vcpu *v, struct cpu_user_regs *regs, const struct insn *in);
struct emul_result emul_io(struct cpu_user_regs *regs, const struct insn *in);

#endif
