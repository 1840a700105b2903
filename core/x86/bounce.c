/* SPDX-License-Identifier: MIT */
/* Bounce frames: how a trap, event or system call enters the guest kernel, and iret back. */
#include <arch/x86.h>

#include "core/arch.h"
#include "core/evtchn.h"
#include "core/hypercall.h"
#include "core/x86/pv.h"
#include "core/x86/uaccess.h"
#include "core/xen_errno.h"
#include "percpu/tlb.h"

#define CLEARED_ON_ENTRY \
	(X86_FLAGS_AC | X86_FLAGS_VM | X86_FLAGS_RF | X86_FLAGS_NT | X86_FLAGS_TF | X86_FLAGS_IOPL)

static inline void swapgs(void)
{
	__asm__ volatile("swapgs" ::: "memory");
}

static void load_root(struct vcpu *v, mfn_t root)
{
	v->arch.root_cr3 = root.v << PAGE_SHIFT;
	tlb_note_load(&v->domain->mm);
	write_cr3(v->arch.root_cr3);
}

void pv_load_root(struct vcpu *v)
{
	load_root(v, v->arch.kernel_mode ? v->arch.kernel_root : v->arch.user_root);
}

void arch_kernel_space(struct vcpu *v, bool on)
{
	if (!v->arch.kernel_mode)
		load_root(v, on ? v->arch.kernel_root : v->arch.user_root);
}

void pv_toggle_mode(struct vcpu *v)
{
	v->arch.kernel_mode = !v->arch.kernel_mode;
	swapgs();
	pv_load_root(v);
}

#define MASK_EVENTS 1u	  /* enter with the upcall masked */
#define PUSH_ERROR 2u	  /* error code under rip */
#define PUSH_SELECTORS 4u /* ds, es, fs, gs under rip: the failsafe frame */
#define FRAME_BYTES 56	  /* without what may be pushed beside */

/*
 * The frame, lowest address first: rcx, r11, [error or selectors], rip, cs with the saved upcall
 * mask in bits 32..39, rflags with IF as the guest had it, rsp, ss.
 */
static inline __attribute__((always_inline)) void
enter_kernel(struct vcpu *v, uint64_t eip, uint64_t cs, unsigned how, uint32_t error)
{
	struct cpu_user_regs *r = guest_regs();
	vcpu_info_t *info = atomic_load_explicit(&v->info, memory_order_relaxed);
	uint8_t mask = info->evtchn_upcall_mask;
	bool was_kernel = v->arch.kernel_mode;
	uint64_t sp, at, saved_cs, saved_flags;

	if (unlikely(!eip)) {
		domain_crash(v->domain, "no handler for a trap taken at rip %lx (%s mode)",
			     (unsigned long)r->rip, was_kernel ? "kernel" : "user");
		return;
	}
	if (was_kernel) {
		sp = r->rsp;
	} else {
		pv_toggle_mode(v);
		sp = v->arch.kernel_sp;
	}
	at = sp = (sp & ~15UL) - FRAME_BYTES - (how & PUSH_ERROR ? 8 : 0) -
		  (unlikely(how & PUSH_SELECTORS) ? 32 : 0);
	if (unlikely(!guest_place_ok(sp) || !guest_place_ok(sp + 32)))
		goto fault;
	GUEST_STORE(r->rcx, at, fault);
	GUEST_STORE(r->r11, at + 8, fault);
	at += 16;
	if (how & PUSH_ERROR) {
		GUEST_STORE((uint64_t)error, at, fault);
		at += 8;
	}
	if (unlikely(how & PUSH_SELECTORS)) {
		GUEST_STORE((uint64_t)r->ds, at, fault);
		GUEST_STORE((uint64_t)r->es, at + 8, fault);
		GUEST_STORE((uint64_t)r->fs, at + 16, fault);
		GUEST_STORE((uint64_t)r->gs, at + 24, fault);
		at += 32;
	}
	saved_cs = (uint64_t)(was_kernel ? (uint16_t)r->cs & ~3u : (uint16_t)r->cs) | (uint64_t)mask
											      << 32;
	saved_flags = (r->rflags & ~(X86_FLAGS_IF | X86_FLAGS_IOPL)) | (mask ? 0 : X86_FLAGS_IF) |
		      (uint64_t)v->arch.iopl << 12;
	GUEST_STORE(r->rip, at, fault);
	GUEST_STORE(saved_cs, at + 8, fault);
	GUEST_STORE(saved_flags, at + 16, fault);
	GUEST_STORE(r->rsp, at + 24, fault);
	GUEST_STORE((uint64_t)r->ss, at + 32, fault);
	if (how & MASK_EVENTS)
		info->evtchn_upcall_mask = 1;
	r->rip = eip;
	r->cs = cs | 3;
	r->rflags = (r->rflags & ~CLEARED_ON_ENTRY) | X86_FLAGS_IF;
	r->rsp = sp;
	r->ss = FLAT_RING3_SS64;
	r->entry_vector = (uint16_t)r->cs == FLAT_RING3_CS64 ? TRAP_SYSCALL : 0;
	return;
fault:
	domain_crash(v->domain,
		     this_pcpu()->pages.refused
			     ? "out of memory: no frame, not even in reserve, for the stack at %lx"
			     : "kernel stack at %lx not writable for a bounce frame",
		     (unsigned long)sp);
}

static inline __attribute__((always_inline)) void inject(struct vcpu *v, unsigned vector,
							 unsigned push, uint32_t error)
{
	const struct trap_info *ti = &v->arch.low_traps[vector];

	v->cnt.traps++;
	if (unlikely(!ti->address)) {
		domain_crash(v->domain, "unhandled exception %u error %x at rip %lx (%s mode)",
			     vector, error, (unsigned long)guest_regs()->rip,
			     v->arch.kernel_mode ? "kernel" : "user");
		return;
	}
	enter_kernel(v, ti->address, ti->cs, push | (TI_GET_IF(ti) ? MASK_EVENTS : 0), error);
}

void pv_inject(struct vcpu *v, unsigned vector, bool has_error, uint32_t error)
{
	inject(v, vector, has_error ? PUSH_ERROR : 0, error);
}

void pv_inject_int(struct vcpu *v, const struct trap_info *ti)
{
	v->cnt.traps++;
	enter_kernel(v, ti->address, ti->cs, TI_GET_IF(ti) ? MASK_EVENTS : 0, 0);
}

void pv_inject_pf(struct vcpu *v, uint64_t cr2, uint32_t error)
{
	vcpu_info_t *info = atomic_load_explicit(&v->info, memory_order_relaxed);

	info->arch.cr2 = cr2;
	v->arch.ctrlreg[2] = cr2;
	inject(v, VEC_PF, PUSH_ERROR, error);
}

void pv_deliver_events(struct vcpu *v)
{
	vcpu_info_t *info = atomic_load_explicit(&v->info, memory_order_relaxed);

	if (unlikely(atomic_load_explicit(&v->arch.nmi_pending, memory_order_acquire)) &&
	    v->arch.nmi_eip) {
		atomic_store_explicit(&v->arch.nmi_pending, false, memory_order_relaxed);
		enter_kernel(v, v->arch.nmi_eip, FLAT_KERNEL_CS, MASK_EVENTS, 0);
	}
	if (!info->evtchn_upcall_mask && info->evtchn_upcall_pending && v->arch.event.eip) {
		v->cnt.events++;
		enter_kernel(v, v->arch.event.eip, FLAT_KERNEL_CS, MASK_EVENTS, 0);
	}
}

void pv_failsafe(struct vcpu *v)
{
	enter_kernel(v, v->arch.failsafe.eip, FLAT_KERNEL_CS,
		     PUSH_SELECTORS | (v->arch.failsafe.mask_events ? MASK_EVENTS : 0), 0);
}

void pv_syscall(struct vcpu *v, const struct pv_callback *cb)
{
	if (unlikely(!cb->eip)) {
		guest_regs()->rip -= 2; /* syscall */
		pv_inject(v, VEC_UD, false, 0);
		return;
	}
	enter_kernel(v, cb->eip, FLAT_KERNEL_CS, cb->mask_events ? MASK_EVENTS : 0, 0);
}

/* HYPERVISOR_iret: the frame of struct iret_context is at the guest's rsp. */
long do_iret(void)
{
	struct vcpu *v = current_vcpu();
	struct cpu_user_regs *r = guest_regs();
	const struct iret_context *ic = (const struct iret_context *)r->rsp;
	vcpu_info_t *info = atomic_load_explicit(&v->info, memory_order_relaxed);
	uint64_t rax, rcx, r11, flags, rip, cs, rflags, rsp, ss;

	if (unlikely(!guest_place_ok((uint64_t)ic)))
		goto fault;
	GUEST_LOAD(rax, &ic->rax, fault);
	GUEST_LOAD(r11, &ic->r11, fault);
	GUEST_LOAD(rcx, &ic->rcx, fault);
	GUEST_LOAD(flags, &ic->flags, fault);
	GUEST_LOAD(rip, &ic->rip, fault);
	GUEST_LOAD(cs, &ic->cs, fault);
	GUEST_LOAD(rflags, &ic->rflags, fault);
	GUEST_LOAD(rsp, &ic->rsp, fault);
	GUEST_LOAD(ss, &ic->ss, fault);
	if ((cs & 3) == 3) {
		if (unlikely(!mfn_valid_value(v->arch.user_root))) {
			domain_crash(v->domain, "iret to user mode without a user base pointer");
			return 0;
		}
		pv_toggle_mode(v);
	}
	r->rip = rip;
	r->cs = (cs & 0xffff) | 3;
	r->rflags = (rflags & ~(X86_FLAGS_IOPL | X86_FLAGS_VM | X86_FLAGS_VIF | X86_FLAGS_VIP)) |
		    X86_FLAGS_IF | X86_FLAGS_FIXED;
	r->rsp = rsp;
	r->ss = (ss & 0xffff) | 3;
	r->rcx = rcx;
	r->r11 = r11;
	r->entry_vector = 0;
	if ((flags & VGCF_in_syscall) && (uint16_t)r->cs == FLAT_RING3_CS64 &&
	    r->ss == FLAT_RING3_SS64)
		r->entry_vector = TRAP_SYSCALL;
	info->evtchn_upcall_mask = !(rflags & X86_FLAGS_IF);
	return (long)rax;
fault:
	domain_crash(v->domain, "iret with an unreadable frame at %lx", (unsigned long)ic);
	return 0;
}
