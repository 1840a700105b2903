/* SPDX-License-Identifier: MIT */
/* A vCPU's x86 state: made, switched, set by its guest, freed. */
#include <arch/x86.h>

#include "core/arch.h"
#include "core/hypercall.h"
#include "core/lib.h"
#include "core/run.h"
#include "core/time.h"
#include "core/x86/fpu.h"
#include "core/x86/paging.h"
#include "core/x86/pv.h"
#include "core/x86/pvcpu.h"
#include "core/x86/segbase.h"
#include "core/x86/segdesc.h"
#include "core/x86/uaccess.h"
#include "core/xen_errno.h"
#include "percpu/page_cache.h"
#include "percpu/tlb.h"

#define GUEST_CR0 \
	(X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM | X86_CR0_PG)
#define GUEST_CR4 (X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT)

NORETURN void x86_enter_guest(struct cpu_user_regs *regs, bool sysret);

int arch_vcpu_init(struct vcpu *v)
{
	struct arch_vcpu *a = &v->arch;

	a->xcr0 = XCR0_X87;
	a->kernel_mode = true;
	a->kernel_root = a->user_root = INVALID_MFN;
	a->kernel_l4 = a->user_l4 = INVALID_GFN;
	a->ctrlreg[0] = GUEST_CR0;
	a->ctrlreg[4] = GUEST_CR4;
	a->dr[6] = 0xffff0ff0;
	a->dr[7] = 0x400;
	for (unsigned i = 0; i < GDT_GUEST_PAGES; i++) {
		a->gdt_pages[i] = INVALID_MFN;
		a->gdt_frames[i] = INVALID_GFN;
	}
	for (unsigned i = 0; i < 16; i++)
		a->ldt_pages[i] = INVALID_MFN;
	return 0;
}

void arch_vcpu_free(struct vcpu *v)
{
	struct arch_vcpu *a = &v->arch;

	if (gfn_valid_value(a->kernel_l4))
		mm_base_put(&v->domain->mm, a->kernel_l4);
	if (gfn_valid_value(a->user_l4))
		mm_base_put(&v->domain->mm, a->user_l4);
	a->kernel_l4 = a->user_l4 = INVALID_GFN;
	segdesc_free(v);
	fpu_free(v);
	pv_clear_traps(v);
}

/* Leave no trace of a vCPU on this pCPU before it moves to another or dies. */
void arch_vcpu_leave_pcpu(struct vcpu *v)
{
	fpu_save_if_owner(v);
}

void arch_context_switch(struct vcpu *prev, struct vcpu *next)
{
	struct pcpu *p = this_pcpu();
	struct cpu_user_regs *live = guest_regs();

	if (prev) {
		memcpy(&prev->arch.regs, live, offsetof(struct cpu_user_regs, es));
		segbase_save(prev);
	}
	p->current = next;
	if (!next) {
		tlb_note_idle();
		write_cr3(hyp_cr3);
		return;
	}
	segdesc_load(next);
	pv_load_root(next);
	memcpy(live, &next->arch.regs, offsetof(struct cpu_user_regs, es));
	bool ok = segbase_load(next);

	fpu_switch_in(next);
	pvcpu_debug_switch(next);
	if (unlikely(!ok)) {
		/* With the selectors it had; the bad ones are null now. */
		live->ds = next->arch.regs.ds;
		live->es = next->arch.regs.es;
		live->fs = next->arch.regs.fs;
		live->gs = next->arch.regs.gs;
		pv_failsafe(next);
	}
}

int arch_vcpu_boot_context(struct vcpu *v, uint64_t rip, uint64_t rsp, uint64_t rsi, gfn_t l4)
{
	struct arch_vcpu *a = &v->arch;
	vcpu_info_t *info = atomic_load_explicit(&v->info, memory_order_relaxed);
	int rc = mm_base_get(&v->domain->mm, l4, &a->kernel_root);

	if (rc)
		return rc;
	a->kernel_l4 = l4;
	a->ctrlreg[3] = l4.v << PAGE_SHIFT;
	a->regs.rip = rip;
	a->regs.rsp = rsp;
	a->regs.rsi = rsi;
	a->regs.cs = FLAT_RING3_CS64;
	a->regs.ss = FLAT_RING3_SS64;
	a->regs.rflags = X86_FLAGS_IF | X86_FLAGS_FIXED;
	a->kernel_sp = rsp;
	a->kernel_ss = FLAT_RING3_SS64;
	info->evtchn_upcall_mask = 1;
	return 0;
}

/* One field of the guest's struct vcpu_guest_context. */
#define GET(dst, field)                                                          \
	copy_from_guest((dst), gva + offsetof(struct vcpu_guest_context, field), \
			sizeof(((struct vcpu_guest_context *)0)->field))

static int set_traps(struct vcpu *v, uint64_t gva)
{
	for (unsigned i = 0; i < 256; i++) {
		struct trap_info ti;

		if (copy_from_guest(&ti,
				    gva + offsetof(struct vcpu_guest_context, trap_ctxt) +
					    i * sizeof(ti),
				    sizeof(ti)))
			return -XEN_EFAULT;
		if (!ti.address)
			continue;
		if (!guest_range_ok(ti.address, 1))
			return -XEN_EINVAL;
		if (pv_set_trap(v, &ti))
			return -XEN_ENOMEM;
	}
	return 0;
}

static int set_roots(struct vcpu *v, const unsigned long *ctrlreg)
{
	struct arch_vcpu *a = &v->arch;
	struct mm *mm = &v->domain->mm;
	gfn_t kernel = GFN(ctrlreg[3] >> PAGE_SHIFT), user = GFN(ctrlreg[1] >> PAGE_SHIFT);
	mfn_t kroot, uroot = INVALID_MFN;
	int rc = mm_base_get(mm, kernel, &kroot);

	if (rc)
		return rc;
	if (ctrlreg[1] & 1) {
		rc = mm_base_get(mm, user, &uroot);
		if (rc) {
			mm_base_put(mm, kernel);
			return rc;
		}
		a->user_l4 = user;
	}
	a->kernel_l4 = kernel;
	a->kernel_root = kroot;
	a->user_root = uroot;
	a->ctrlreg[3] = kernel.v << PAGE_SHIFT;
	return 0;
}

int arch_vcpu_set_context(struct vcpu *v, uint64_t gva)
{
	struct arch_vcpu *a = &v->arch;
	uint8_t fx[512];
	unsigned long flags, eip[3], ldt_base, ldt_ents, gdt_frames[16], gdt_ents, sp[2];
	unsigned long ctrlreg[8], dr[8];
	uint64_t fs, gsk, gsu;
	struct cpu_user_regs regs;
	gfn_t frames[GDT_GUEST_PAGES];
	int rc;

	if (GET(fx, fpu_ctxt) || GET(&flags, flags) || GET(&regs, user_regs) ||
	    GET(&ldt_base, ldt_base) || GET(&ldt_ents, ldt_ents) || GET(gdt_frames, gdt_frames) ||
	    GET(&gdt_ents, gdt_ents) || GET(&sp[0], kernel_ss) || GET(&sp[1], kernel_sp) ||
	    GET(ctrlreg, ctrlreg) || GET(dr, debugreg) || GET(&eip[0], event_callback_eip) ||
	    GET(&eip[1], failsafe_callback_eip) || GET(&eip[2], syscall_callback_eip) ||
	    GET(&fs, fs_base) || GET(&gsk, gs_base_kernel) || GET(&gsu, gs_base_user))
		return -XEN_EFAULT;
	for (unsigned i = 0; i < 3; i++)
		if (eip[i] && !guest_range_ok(eip[i], 1))
			return -XEN_EINVAL;
	if (ldt_ents)
		return -XEN_EINVAL; /* the LDT is installed by the vCPU itself, MMUEXT_SET_LDT */
	if (gdt_ents > GDT_GUEST_PAGES * 512)
		return -XEN_EINVAL;
	if (!guest_range_ok(fs, 1) || !guest_range_ok(gsk, 1) || !guest_range_ok(gsu, 1))
		return -XEN_EINVAL;
	rc = set_traps(v, gva);
	if (!rc && flags & VGCF_I387_VALID)
		rc = fpu_alloc(v);
	if (rc)
		return rc;
	for (unsigned i = 0; i < GDT_GUEST_PAGES; i++)
		frames[i] = GFN(gdt_frames[i]);
	rc = segdesc_set_gdt(v, frames, gdt_ents);
	if (rc)
		return rc;
	rc = set_roots(v, ctrlreg);
	if (rc)
		return rc == MM_PREEMPTED ? -HC_CONTINUE : rc;

	a->regs = regs;
	pv_fix_selectors(&a->regs);
	a->regs.rflags = (regs.rflags & ~(X86_FLAGS_IOPL | X86_FLAGS_VM | X86_FLAGS_NT)) |
			 X86_FLAGS_IF | X86_FLAGS_FIXED;
	a->iopl = regs.rflags >> 12 & 3;
	a->regs.entry_vector = 0;
	a->kernel_mode = flags & VGCF_IN_KERNEL;
	if (!a->kernel_mode && !mfn_valid_value(a->user_root))
		a->kernel_mode = true;
	a->kernel_ss = sp[0] | 3;
	a->kernel_sp = sp[1];
	a->event = (struct pv_callback){eip[0], true};
	a->failsafe = (struct pv_callback){eip[1], flags & VGCF_failsafe_disables_events};
	a->syscall = (struct pv_callback){eip[2], flags & VGCF_syscall_disables_events};
	a->fs_base = fs;
	a->gs_base_kernel = gsk;
	a->gs_base_user = gsu;
	for (unsigned i = 0; i < 8; i++)
		if (dr[i])
			pvcpu_set_debugreg(v, i, dr[i]);
	if (flags & VGCF_I387_VALID)
		fpu_load_legacy(v, fx);
	return 0;
}

void arch_deliver_events(struct vcpu *v)
{
	pv_deliver_events(v);
}

void arch_enter_guest(void)
{
	x86_enter_guest(guest_regs(), pv_sysret_ok(guest_regs()));
}

gfn_t arch_new_baseptr(gfn_t gfn, mfn_t hw_root)
{
	struct vcpu *v = current_vcpu();
	gfn_t old = v->arch.kernel_l4;

	v->arch.kernel_l4 = gfn;
	v->arch.kernel_root = hw_root;
	v->arch.ctrlreg[3] = gfn.v << PAGE_SHIFT;
	pv_load_root(v);
	return old;
}

bool arch_reload_baseptr(gfn_t gfn)
{
	struct vcpu *v = current_vcpu();

	if (v->arch.kernel_l4.v != gfn.v)
		return false;
	pv_load_root(v);
	return true;
}

gfn_t arch_new_user_baseptr(gfn_t gfn, mfn_t hw_root)
{
	struct vcpu *v = current_vcpu();
	gfn_t old = v->arch.user_l4;

	v->arch.user_l4 = gfn;
	v->arch.user_root = hw_root;
	return old;
}

int arch_vcpu_send_nmi(struct vcpu *v)
{
	if (!v->arch.nmi_eip)
		return -XEN_EINVAL;
	atomic_store_explicit(&v->arch.nmi_pending, true, memory_order_release);
	if (v == current_vcpu())
		this_pcpu()->work |= WORK_EVENT;
	else
		sched_wake(&v->unit);
	return 0;
}

void arch_vcpu_set_iopl(unsigned level)
{
	current_vcpu()->arch.iopl = level & 3;
}

void arch_flush_cache(void)
{
	__asm__ volatile("wbinvd" ::: "memory");
}

/* 32 bytes per hypercall: push rcx, r11; eax = nr; syscall; pop; ret. iret does not return. */
void arch_hypercall_page(void *page)
{
	uint8_t *p = page;

	memset(page, 0xcc, PAGE_SIZE);
	for (unsigned nr = 0; nr < PAGE_SIZE / 32; nr++, p += 32) {
		static const uint8_t call[] = {0x51, 0x41, 0x53, 0xb8, 0,    0,	   0,
					       0,    0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3};
		static const uint8_t iret[] = {0x51, 0x41, 0x53, 0x50, 0xb8, 0,
					       0,    0,	   0,	 0x0f, 0x05};

		if (nr == __HYPERVISOR_iret) {
			memcpy(p, iret, sizeof(iret));
			p[5] = nr;
		} else {
			memcpy(p, call, sizeof(call));
			p[4] = nr;
		}
	}
}

void arch_tlb_flush_local(void)
{
	write_cr3(read_cr3());
}

void arch_tlb_flush_one(uint64_t va)
{
	__asm__ volatile("invlpg (%0)" ::"r"(va) : "memory");
}
