/* SPDX-License-Identifier: MIT */
/*
 * Traps from guests and from the hypervisor itself. Every entry from a guest brings this pCPU
 * online for RCU and leaves through leave_to_guest().
 */
#include <arch/rcu.h>
#include <arch/x86.h>

#include "core/arch.h"
#include "core/hypercall.h"
#include "core/lib.h"
#include "core/memory_wait.h"
#include "core/run.h"
#include "core/x86/apic.h"
#include "core/x86/emul.h"
#include "core/x86/extable.h"
#include "core/x86/fpu.h"
#include "core/x86/insn_fetch.h"
#include "core/x86/panic.h"
#include "core/x86/ptwrite.h"
#include "core/x86/pv.h"
#include "core/x86/segbase.h"
#include "core/x86/stale_code.h"
#include "core/x86/tsc.h"
#include "core/x86/uaccess.h"
#include "percpu/log.h"
#include "percpu/rcu.h"
#include "percpu/tlb.h"

_Static_assert(offsetof(struct cpu_user_regs, entry_vector) == 124, "entry.S R_VEC");
_Static_assert(offsetof(struct cpu_user_regs, rip) == 128, "entry.S R_RIP");
_Static_assert(offsetof(struct cpu_user_regs, cs) == 136, "entry.S R_CS");
_Static_assert(offsetof(struct cpu_user_regs, ss) + 8 == 168, "entry.S, RSP0");
_Static_assert(sizeof(struct cpu_info) == 216, "entry.S RSP0_FROM_TOP");
_Static_assert(TRAP_SYSCALL == 0x100 && HC_NR == 64 && HC_CONTINUE == 0x4000 && XEN_ENOSYS == 38 &&
		       offsetof(vcpu_info_t, evtchn_upcall_pending) == 0,
	       "entry.S");
_Static_assert(offsetof(struct cpu_user_regs, r10) == 56 &&
		       offsetof(struct cpu_user_regs, rdi) == 112,
	       "entry.S, the return from a hypercall");

/* What the entry points return to entry.S: how to go on. */
enum leave {
	LEAVE_IRET,
	LEAVE_SYSRET,
	LEAVE_KEPT = 2 /* added: R14 and R15 still are the guest's */
};

extern char iret_guest[];
NORETURN void x86_enter_guest(struct cpu_user_regs *regs, bool sysret);
enum leave x86_leave(struct cpu_user_regs *regs);
enum leave x86_hypercall_again(struct cpu_user_regs *regs, uint64_t nr, long rc);
enum leave x86_user_syscall(struct cpu_user_regs *regs);
void x86_entry_offsets(void);
enum leave x86_syscall32(struct cpu_user_regs *regs);
enum leave x86_guest_trap(struct cpu_user_regs *regs);
void x86_hyp_trap(struct cpu_user_regs *regs);

static enum leave __attribute__((noinline)) leave_after_work(struct pcpu *p)
{
	run_before_guest(p);
	arch_rcu_offline(p);
	return pv_sysret_ok(guest_regs()) ? LEAVE_SYSRET : LEAVE_IRET;
}

/* Without work for this pCPU, the registers that are saved are those to go back to. */
static inline enum leave leave_to_guest(struct pcpu *p, struct cpu_user_regs *r, enum leave kept)
{
	if (unlikely(p->work))
		return leave_after_work(p);
	if (unlikely(vcpu_event_pending(p->current))) {
		pv_deliver_events(p->current);
		if (unlikely(p->work))
			return leave_after_work(p);
	}
	arch_rcu_offline(p);
	return (pv_sysret_ok(r) ? LEAVE_SYSRET : LEAVE_IRET) + kept;
}

/* The rest is in entry.S, with the ways back in common. */
enum leave x86_leave(struct cpu_user_regs *r)
{
	return leave_to_guest(this_pcpu(), r, LEAVE_KEPT);
}

enum leave x86_hypercall_again(struct cpu_user_regs *r, uint64_t nr, long rc)
{
	uint64_t args[6] = {r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9};

	if (hypercall_continues(nr, rc, args))
		arch_hypercall_restart((unsigned)nr, args);
	else
		r->rax = (uint64_t)rc;
	return x86_leave(r);
}

enum leave x86_user_syscall(struct cpu_user_regs *r)
{
	struct vcpu *v = current_vcpu();

	pv_syscall(v, &v->arch.syscall);
	return x86_leave(r);
}

/* Absolute symbols for entry.S. */
#define OFFSET(name, type, field) \
	__asm__ volatile(".globl " #name "\n\t.set " #name ", %c0" ::"i"(offsetof(type, field)))

void x86_entry_offsets(void)
{
	OFFSET(CPU_INFO_PCPU, struct cpu_info, pcpu);
	OFFSET(PCPU_CURRENT, struct pcpu, current);
	OFFSET(PCPU_WORK, struct pcpu, work);
	OFFSET(PCPU_QSBR, struct pcpu, qsbr.ctr);
	OFFSET(VCPU_KERNEL_MODE, struct vcpu, arch.kernel_mode);
	OFFSET(VCPU_HYPERCALLS, struct vcpu, cnt.hypercalls);
	OFFSET(VCPU_EVENTS_RARE, struct vcpu, evt.rare);
	OFFSET(VCPU_INFO, struct vcpu, info);
}

/* In 32-bit code SYSCALL never is a hypercall: the 64-bit guest kernel has none of it. */
enum leave x86_syscall32(struct cpu_user_regs *r)
{
	struct pcpu *p = this_pcpu();

	arch_rcu_online(p);
	r->entry_vector = 0; /* CS is not the flat one */
	pv_syscall(p->current, &p->current->arch.syscall32);
	return leave_to_guest(p, r, 0);
}

/* Move the guest back onto its hypercall instruction; see core/hypercall.h. */
void arch_hypercall_restart(unsigned nr, const uint64_t args[6])
{
	struct cpu_user_regs *r = guest_regs();

	r->rip -= 2; /* syscall */
	r->rax = nr;
	r->rdi = args[0];
	r->rsi = args[1];
	r->rdx = args[2];
	r->r10 = args[3];
	r->r8 = args[4];
	r->r9 = args[5];
}

static void irq(struct pcpu *p, unsigned vector)
{
	switch (vector) {
	case VEC_KICK:
		apic_eoi();
		tlb_interrupt();
		p->work |= WORK_RESCHED;
		break;
	case VEC_TIMER:
		apic_eoi();
		if (tsc_timer_irq())
			p->work |= WORK_RESCHED;
		break;
	case VEC_SPURIOUS:
		break;
	default:
		apic_eoi();
		printk("unexpected interrupt, vector %u", vector);
	}
}

static void apply(struct vcpu *v, struct emul_result e, unsigned vector, bool has_error,
		  uint32_t error)
{
	switch (e.status) {
	case EMUL_DONE:
		v->cnt.emulated++;
		break;
	case EMUL_RETRY:
		break;
	case EMUL_FAULT:
		if (e.vector == VEC_DB) /* a single step over what was emulated */
			v->arch.dr[6] |= DR6_BS;
		if (e.vector == VEC_PF)
			pv_inject_pf(v, e.cr2, e.error);
		else
			pv_inject(v, e.vector, e.vector >= VEC_DF && e.vector <= VEC_PF, e.error);
		break;
	default:
		pv_inject(v, vector, has_error, error);
	}
}

static void guest_page_fault(struct vcpu *v, struct cpu_user_regs *r, uint64_t cr2)
{
	uint32_t guest_ec = r->error_code;
	bool kernel = v->arch.kernel_mode;

	v->cnt.faults++;
	if (unlikely(cr2 >= HYP_VIRT_START && cr2 < HYP_VIRT_END)) {
		/* The hypervisor's own range, or past the end of the M2P: not the guest's. */
		pv_inject_pf(v, cr2, (guest_ec & ~(PFEC_P | PFEC_U)) | (kernel ? 0 : PFEC_U));
		return;
	}
	switch (mm_fault(&v->domain->mm, arch_root(&v->arch), cr2, r->error_code, kernel,
			 &guest_ec)) {
	case MM_FAULT_RETRY:
		return;
	case MM_FAULT_PTWRITE: {
		struct emul_result e = ptwrite_emulate(v, r, cr2, guest_ec);

		if (e.status == EMUL_NOT)
			pv_inject_pf(v, cr2, guest_ec);
		else
			apply(v, e, VEC_PF, true, guest_ec);
		return;
	}
	case MM_FAULT_NOMEM:
		memory_wait(v, cr2);
		return;
	default:
		pv_inject_pf(v, cr2, guest_ec);
	}
}

static void guest_gp(struct vcpu *v, struct cpu_user_regs *r)
{
	uint32_t ec = r->error_code;

	/* INT n: the IDT bit is set; allowed when the guest gave that vector a DPL of its mode. */
	if (ec & 2) {
		/* The vector from the code: QEMU 7.2 has it twice too large in the error code. */
		const struct insn *in = insn_fetch(r->rip);
		const struct trap_info *ti =
			in && in->op == INSN_INT ? pv_trap(v, (uint8_t)in->imm) : NULL;

		if (ti && ti->address && TI_GET_DPL(ti) >= (v->arch.kernel_mode ? 1 : 3)) {
			r->rip += in->len;
			pv_inject_int(v, ti);
			return;
		}
		pv_inject(v, VEC_GP, true, ec);
		return;
	}
	if (ec == 0) {
		apply(v, emul_privop(v, r, v->arch.kernel_mode), VEC_GP, true, 0);
		return;
	}
	pv_inject(v, VEC_GP, true, ec);
}

/* What caused the #DB; the register is left empty. */
static uint64_t take_dr6(void)
{
	uint64_t dr6;

	__asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
	__asm__ volatile("mov %0, %%dr6" ::"r"(0xffff0ff0UL));
	return dr6;
}

static void guest_debug(struct vcpu *v)
{
	v->arch.dr[6] |= take_dr6() & DR6_CAUSES; /* the guest clears it, as in hardware */
	pv_inject(v, VEC_DB, false, 0);
}

static void guest_exception(struct vcpu *v, struct cpu_user_regs *r, unsigned vector)
{
	switch (vector) {
	case VEC_PF:
		guest_page_fault(v, r, read_cr2());
		break;
	case VEC_GP:
		guest_gp(v, r);
		break;
	case VEC_UD:
		apply(v, emul_ud(v, r), VEC_UD, false, 0);
		break;
	case VEC_NM:
		if (v->arch.ctrlreg[0] & X86_CR0_TS) {
			fpu_set_ts(v, false); /* the ABI: TS is off when the handler runs */
			pv_inject(v, VEC_NM, false, 0);
		} else if (fpu_first_use(v)) {
			memory_wait(v, r->rip);
		}
		break;
	case VEC_DB:
		guest_debug(v);
		break;
	case VEC_BP:
		stale_code_bp(v, r->rip);
		pv_inject(v, VEC_BP, false, 0);
		break;
	case VEC_NMI:
		if (!panic_nmi(r))
			printk("NMI: ignored");
		break;
	case VEC_MC:
		panic_regs(r, "machine check");
	case VEC_DF:
		panic_regs(r, "double fault");
	default:
		pv_inject(v, vector, (vector >= VEC_TS && vector <= VEC_PF) || vector == VEC_AC,
			  r->error_code);
	}
}

enum leave x86_guest_trap(struct cpu_user_regs *r)
{
	struct pcpu *p = container_of(r, struct cpu_info, regs)->pcpu;
	unsigned vector = r->entry_vector & 0xff;

	arch_rcu_online(p);
	if (vector >= 32)
		irq(p, vector);
	else
		guest_exception(p->current, r, vector);
	return leave_to_guest(p, r, 0);
}

/*
 * IRET to the guest faulted: a selector or rip it asked for is no good. The frame to be returned
 * to is intact in cpu_info; the general registers are still the guest's, saved in @r.
 */
static void bad_iret(struct cpu_user_regs *r)
{
	struct cpu_user_regs *g = guest_regs(), gprs = *r;
	struct vcpu *v = current_vcpu();

	memcpy(g, &gprs, offsetof(struct cpu_user_regs, error_code));
	rcu_thread_online();
	/* What cannot be loaded must not come back with the handler's frame. The selectors in it
	 * tell the guest that none of them was to blame. */
	segbase_read_selectors(g);
	pv_failsafe(v);
	/*
	 * When the failsafe callback can't be entered either, this is tried again until the domain's
	 * end, of which a message tells: its interrupt can't be taken before a return succeeds.
	 */
	this_pcpu()->work |= WORK_INBOX;
	x86_enter_guest(g, leave_to_guest(this_pcpu(), g, 0) == LEAVE_SYSRET);
}

void x86_hyp_trap(struct cpu_user_regs *r)
{
	unsigned vector = r->entry_vector & 0xff;
	uint64_t fix;

	if (vector >= 32) { /* only from arch_idle() and arch_take_irqs() */
		irq(this_pcpu(), vector);
		return;
	}
	switch (vector) {
	case VEC_NMI:
		if (!panic_nmi(r))
			return;
		break;
	case VEC_DB:	    /* MOV SS before SYSCALL, or a guest's breakpoint on its own buffer */
		take_dr6(); /* not the guest's: its DR6 goes with the #DB it may be about to get */
		return;
	case VEC_PF: {
		uint64_t cr2 = read_cr2();
		struct vcpu *v = current_vcpu();

		fix = extable_find(r->rip);
		if (v && fix && (cr2 < GUEST_LOW_END || cr2 >= HYP_VIRT_END)) {
			struct page_cache *pages = &this_pcpu()->pages;
			enum mm_fault_result res;
			uint32_t ec;

			v->cnt.faults++;
			/* What is half done can't wait: tables, records and frames from the reserve. */
			pages->urgent = true;
			pages->refused = false;
			res = mm_fault(&v->domain->mm, arch_root(&v->arch), cr2, r->error_code,
				       true, &ec);
			pages->urgent = false;
			if (res == MM_FAULT_RETRY)
				return;
		}
		if (fix) {
			r->rip = fix;
			return;
		}
		panic_regs(r, "page fault in the hypervisor at %lx", (unsigned long)cr2);
	}
	default:
		if (r->rip == (uint64_t)iret_guest)
			bad_iret(r);
		fix = extable_find(r->rip);
		if (fix) {
			r->rip = fix;
			return;
		}
	}
	panic_regs(r, "exception %u error %x in the hypervisor", vector, r->error_code);
}
