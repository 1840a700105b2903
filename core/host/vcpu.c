/* SPDX-License-Identifier: MIT */
/* vCPU state of the host build: there is no guest mode; tests look at what was asked for. */
#include <string.h>

#include "core/domain.h"
#include "core/run.h"
#include "core/time.h"
#include "core/xen_errno.h"
#include "percpu/tlb.h"

/* Both may be NULL (idle). As on bare metal, the caller sets pcpu.current beforehand or not. */
void arch_context_switch(struct vcpu *prev, struct vcpu *next)
{
	struct pcpu *p = this_pcpu();

	(void)prev;
	tlb_note_load(next ? &next->domain->mm : NULL);
	p->current = next;
	if (next)
		next->arch.switches_in++;
}

int arch_vcpu_init(struct vcpu *v)
{
	memset(&v->arch, 0, sizeof(v->arch));
	v->arch.kernel_l4 = v->arch.user_l4 = INVALID_GFN;
	v->arch.kernel_root = v->arch.user_root = INVALID_MFN;
	v->arch.kernel_mode = true;
	return 0;
}

void arch_vcpu_free(struct vcpu *v)
{
	(void)v;
}

void arch_vcpu_leave_pcpu(struct vcpu *v)
{
	(void)v;
}

void arch_kernel_space(struct vcpu *v, bool on)
{
	(void)v;
	(void)on;
}

int arch_vcpu_set_context(struct vcpu *v, uint64_t gva)
{
	struct vcpu_guest_context ctx;
	int rc = copy_from_guest(&ctx, gva, sizeof(ctx));

	if (rc)
		return rc;
	v->arch.boot_rip = ctx.user_regs.rip;
	v->arch.boot_rsp = ctx.user_regs.rsp;
	v->arch.boot_rsi = ctx.user_regs.rsi;
	v->arch.kernel_l4 = GFN(ctx.ctrlreg[3] >> PAGE_SHIFT);
	v->arch.initialised = true;
	return 0;
}

int arch_vcpu_boot_context(struct vcpu *v, uint64_t rip, uint64_t rsp, uint64_t rsi, gfn_t l4)
{
	v->arch.boot_rip = rip;
	v->arch.boot_rsp = rsp;
	v->arch.boot_rsi = rsi;
	v->arch.kernel_l4 = l4;
	v->arch.initialised = true;
	return 0;
}

gfn_t arch_new_baseptr(gfn_t gfn, mfn_t hw_root)
{
	struct vcpu *v = current_vcpu();
	gfn_t old = v->arch.kernel_l4;

	v->arch.kernel_l4 = gfn;
	v->arch.kernel_root = hw_root;
	tlb_note_load(&v->domain->mm);
	return old;
}

bool arch_reload_baseptr(gfn_t gfn)
{
	struct vcpu *v = current_vcpu();

	if (v->arch.kernel_l4.v != gfn.v)
		return false;
	tlb_note_load(&v->domain->mm);
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

long arch_set_ldt(uint64_t gva, uint64_t ents)
{
	struct vcpu *v = current_vcpu();

	if (ents > 8192 || (ents && gva & (PAGE_SIZE - 1)))
		return -XEN_EINVAL;
	v->arch.ldt_base = gva;
	v->arch.ldt_ents = (unsigned)ents;
	return 0;
}

void arch_flush_cache(void)
{
}

void arch_hypercall_page(void *page)
{
	memset(page, 0xcc, PAGE_SIZE);
}

void arch_hypercall_restart(unsigned nr, const uint64_t args[6])
{
	struct arch_vcpu *a = &current_vcpu()->arch;

	a->restarts++;
	a->restart_nr = nr;
	memcpy(a->restart_args, args, sizeof(a->restart_args));
}

int arch_vcpu_send_nmi(struct vcpu *v)
{
	if (!v->arch.nmi_eip)
		return -XEN_EINVAL;
	v->arch.nmis++;
	return 0;
}

void arch_vcpu_set_iopl(unsigned level)
{
	current_vcpu()->arch.iopl = level;
}

/* The host's counter ticks once per ns. */
struct time_scale arch_tsc_scale(void)
{
	return time_scale_from_hz(NS_PER_SEC);
}

uint64_t arch_tsc_base(void)
{
	return 0;
}

void arch_deliver_events(struct vcpu *v)
{
	v->arch.upcalls++;
}

void arch_enter_guest(void)
{
	panic("the host build has no guest mode");
}
