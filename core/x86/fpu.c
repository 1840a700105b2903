/* SPDX-License-Identifier: MIT */
#include "core/x86/fpu.h"

#include <arch/x86.h>

#include "core/arch.h"
#include "core/lib.h"
#include "core/x86/segbase.h"
#include "core/xen_errno.h"
#include "percpu/page_cache.h"

#define XCR0_SSE 2UL
/* x87, SSE, AVX, and AVX-512's three; PKRU and others stay hidden. */
#define XCR0_OFFERED 0xe7UL

static bool have_xsave, have_xsaveopt;
static uint64_t xcr0_all;
static unsigned area_size = 512;

/* What library code finds at %fs:0x28, where it expects the stack protector's canary. */
static struct {
	uint64_t before[5];
	uint64_t canary;
} borrowed_tls;
_Static_assert(offsetof(typeof(borrowed_tls), canary) == 0x28, "the ABI's place");

static void xsetbv0(uint64_t v)
{
	__asm__ volatile("xsetbv" ::"c"(0), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)));
}

static void set_hw_ts(struct pcpu *p, bool ts)
{
	if (p->arch.ts_set == ts)
		return;
	if (ts)
		write_cr0(read_cr0() | X86_CR0_TS);
	else
		__asm__ volatile("clts" ::: "memory");
	p->arch.ts_set = ts;
}

void fpu_init(void)
{
	struct pcpu *p = this_pcpu();
	uint32_t r[4];
	uint64_t cr4 = read_cr4() | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;

	cpuid_raw(1, 0, r);
	if (r[2] & (1u << 26))
		cr4 |= X86_CR4_OSXSAVE;
	write_cr4(cr4);
	write_cr0((read_cr0() | X86_CR0_MP | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM) & ~4UL);
	if (cr4 & X86_CR4_OSXSAVE) {
		cpuid_raw(0xd, 0, r);
		xcr0_all = ((uint64_t)r[3] << 32 | r[0]) & XCR0_OFFERED;
		xsetbv0(xcr0_all);
		p->arch.xcr0 = xcr0_all;
		cpuid_raw(0xd, 0, r);
		area_size = r[1];
		BUG_ON(area_size > PAGE_SIZE);
		cpuid_raw(0xd, 1, r);
		have_xsaveopt = r[0] & 1;
		have_xsave = true;
	}
	p->arch.ts_set = false;
	set_hw_ts(p, true);
	p->arch.fpu_owner = NULL;
}

uint64_t fpu_xcr0_mask(void)
{
	return xcr0_all;
}

static void set_hw_xcr0(struct pcpu *p, uint64_t xcr0)
{
	if (have_xsave && p->arch.xcr0 != xcr0) {
		xsetbv0(xcr0);
		p->arch.xcr0 = xcr0;
	}
}

/* Save and restore cover every component, whatever XCR0 the guest has chosen. */
static void save(struct pcpu *p, struct vcpu *v)
{
	if (have_xsave) {
		set_hw_xcr0(p, xcr0_all);
		if (have_xsaveopt)
			__asm__ volatile("xsaveopt64 (%0)" ::"r"(v->arch.fpu_area), "a"(-1), "d"(-1)
					 : "memory");
		else
			__asm__ volatile("xsave64 (%0)" ::"r"(v->arch.fpu_area), "a"(-1), "d"(-1)
					 : "memory");
	} else {
		__asm__ volatile("fxsave64 (%0)" ::"r"(v->arch.fpu_area) : "memory");
	}
}

static void load(struct pcpu *p, struct vcpu *v)
{
	if (have_xsave) {
		set_hw_xcr0(p, xcr0_all);
		__asm__ volatile("xrstor64 (%0)" ::"r"(v->arch.fpu_area), "a"(-1), "d"(-1)
				 : "memory");
	} else {
		__asm__ volatile("fxrstor64 (%0)" ::"r"(v->arch.fpu_area) : "memory");
	}
}

static void init_area(void *area)
{
	memset(area, 0, area_size);
	*(uint16_t *)area = 0x37f;		   /* FCW */
	*(uint32_t *)((char *)area + 24) = 0x1f80; /* MXCSR */
}

int fpu_alloc(struct vcpu *v)
{
	mfn_t m;

	if (v->arch.fpu_area)
		return 0;
	m = page_alloc(0);
	if (!mfn_valid_value(m))
		return -XEN_ENOMEM;
	v->arch.fpu_area = arch_mfn_to_virt(m);
	init_area(v->arch.fpu_area);
	return 0;
}

void fpu_free(struct vcpu *v)
{
	if (v->arch.fpu_area)
		page_free(arch_virt_to_mfn(v->arch.fpu_area));
	v->arch.fpu_area = NULL;
}

void fpu_load_legacy(struct vcpu *v, const void *fxsave)
{
	init_area(v->arch.fpu_area);
	memcpy(v->arch.fpu_area, fxsave, 512);
	/* Reserved MXCSR bits would fault the hypervisor's restore. */
	*(uint32_t *)((char *)v->arch.fpu_area + 24) &= 0xffbf;
	if (have_xsave)
		*(uint64_t *)((char *)v->arch.fpu_area + 512) = XCR0_X87 | XCR0_SSE;
	v->arch.fpu_used = true;
}

void fpu_save_if_owner(struct vcpu *v)
{
	struct pcpu *p = this_pcpu();

	if (p->arch.fpu_owner != v)
		return;
	set_hw_ts(p, false);
	save(p, v);
	p->arch.fpu_owner = NULL;
	/* Another vCPU may be current and will not be switched in anew: without TS it would find @v's
	 * registers, and lose its own. */
	set_hw_ts(p, true);
	if (p->current)
		set_hw_xcr0(p, p->current->arch.xcr0);
}

/* Bring @v's state into the registers. */
static void take(struct pcpu *p, struct vcpu *v)
{
	set_hw_ts(p, false);
	if (p->arch.fpu_owner != v) {
		if (p->arch.fpu_owner)
			save(p, p->arch.fpu_owner);
		load(p, v);
		p->arch.fpu_owner = v;
	}
	set_hw_xcr0(p, v->arch.xcr0);
}

int fpu_first_use(struct vcpu *v)
{
	int rc = fpu_alloc(v);

	if (rc)
		return rc;
	v->arch.fpu_used = true;
	take(this_pcpu(), v);
	return 0;
}

void fpu_switch_in(struct vcpu *v)
{
	struct pcpu *p = this_pcpu();

	if (v->arch.fpu_used) {
		take(p, v);
		set_hw_ts(p, v->arch.ctrlreg[0] & X86_CR0_TS);
	} else {
		set_hw_xcr0(p, v->arch.xcr0);
		set_hw_ts(p, true);
	}
}

void fpu_set_ts(struct vcpu *v, bool ts)
{
	struct pcpu *p = this_pcpu();

	if (ts)
		v->arch.ctrlreg[0] |= X86_CR0_TS;
	else
		v->arch.ctrlreg[0] &= ~X86_CR0_TS;
	set_hw_ts(p, ts || p->arch.fpu_owner != v || !v->arch.fpu_used);
}

bool fpu_set_xcr0(struct vcpu *v, uint64_t xcr0)
{
	if (!have_xsave || (xcr0 & ~xcr0_all) || !(xcr0 & XCR0_X87))
		return false;
	if ((xcr0 & 4) && !(xcr0 & XCR0_SSE))
		return false;
	if ((xcr0 & 0xe0) && ((xcr0 & 0xe0) != 0xe0 || !(xcr0 & 4)))
		return false;
	v->arch.xcr0 = xcr0;
	set_hw_xcr0(this_pcpu(), xcr0);
	return true;
}

/*
 * The registers keep their owner: it is this loan that is saved and put back, not the owner's whole
 * state. FXSAVE is enough, since what borrows uses no more than legacy SSE, whose instructions leave
 * the upper parts of the vector registers alone.
 */
void fpu_borrow(struct fpu_loan *l)
{
	static const uint32_t mxcsr = 0x1f80;
	struct pcpu *p = this_pcpu();

	l->ts = p->arch.ts_set;
	l->saved = p->arch.fpu_owner != NULL;
	set_hw_ts(p, false);
	if (l->saved)
		__asm__ volatile("fxsave64 %0" : "=m"(l->fx));
	__asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
	l->fs_base = segbase_read_fs();
	(void)segbase_write_fs((uint64_t)&borrowed_tls);
}

void fpu_return(const struct fpu_loan *l)
{
	(void)segbase_write_fs(l->fs_base);
	if (l->saved)
		__asm__ volatile("fxrstor64 %0" ::"m"(l->fx));
	set_hw_ts(this_pcpu(), l->ts);
}
