/* SPDX-License-Identifier: MIT */
#include "core/x86/segbase.h"

#include <arch/x86.h>

#include "core/hypercall.h"
#include "core/x86/extable.h"
#include "core/xen_errno.h"

static bool have_fsgsbase;

void segbase_init(void)
{
	uint32_t r[4];

	cpuid_raw(0, 0, r);
	if (r[0] < 7)
		return;
	cpuid_raw(7, 0, r);
	if (r[1] & 1) {
		write_cr4(read_cr4() | X86_CR4_FSGSBASE);
		have_fsgsbase = true;
	}
}

static bool canonical(uint64_t a)
{
	return (int64_t)(a << 16) >> 16 == (int64_t)a;
}

static uint64_t read_fs(void)
{
	uint64_t v;

	if (!have_fsgsbase)
		return rdmsr(MSR_FS_BASE);
	__asm__ volatile("rdfsbase %0" : "=r"(v));
	return v;
}

static void write_fs(uint64_t v)
{
	if (have_fsgsbase)
		__asm__ volatile("wrfsbase %0" ::"r"(v) : "memory");
	else
		wrmsr(MSR_FS_BASE, v);
}

static uint64_t read_gs(void)
{
	uint64_t v;

	if (!have_fsgsbase)
		return rdmsr(MSR_GS_BASE);
	__asm__ volatile("rdgsbase %0" : "=r"(v));
	return v;
}

static void write_gs(uint64_t v)
{
	if (have_fsgsbase)
		__asm__ volatile("wrgsbase %0" ::"r"(v) : "memory");
	else
		wrmsr(MSR_GS_BASE, v);
}

uint64_t segbase_read_fs(void)
{
	return read_fs();
}

bool segbase_write_fs(uint64_t base)
{
	if (!canonical(base))
		return false;
	write_fs(base);
	return true;
}

uint64_t segbase_read_gs_kernel(struct vcpu *v)
{
	return v->arch.kernel_mode ? read_gs() : rdmsr(MSR_KERNEL_GS_BASE);
}

uint64_t segbase_read_gs_user(struct vcpu *v)
{
	return v->arch.kernel_mode ? rdmsr(MSR_KERNEL_GS_BASE) : read_gs();
}

bool segbase_write_gs_kernel(struct vcpu *v, uint64_t base)
{
	if (!canonical(base))
		return false;
	if (v->arch.kernel_mode)
		write_gs(base);
	else
		wrmsr(MSR_KERNEL_GS_BASE, base);
	return true;
}

bool segbase_write_gs_user(struct vcpu *v, uint64_t base)
{
	if (!canonical(base))
		return false;
	if (v->arch.kernel_mode)
		wrmsr(MSR_KERNEL_GS_BASE, base);
	else
		write_gs(base);
	return true;
}

#define READ_SEL(name, out) __asm__ volatile("mov %%" #name ", %w0" : "=r"(out))

/* Load a selector; a fault leaves it null. */
#define LOAD_SEL(name, val)                                               \
	({                                                                \
		uint32_t bad_ = 1;                                        \
		__asm__ volatile("1:\tmov %w1, %%" #name "\n\t"           \
				 "xor %k0, %k0\n\t"                       \
				 "jmp 3f\n"                               \
				 "2:\tmov %w2, %%" #name "\n"             \
				 "3:\n\t" EX_ENTRY(1b, 2b)                \
				 : "+r"(bad_)                             \
				 : "r"((uint16_t)(val)), "r"((uint16_t)0) \
				 : "cc");                                 \
		bad_ == 0;                                                \
	})

void segbase_read_selectors(struct cpu_user_regs *r)
{
	READ_SEL(ds, r->ds);
	READ_SEL(es, r->es);
	READ_SEL(fs, r->fs);
	READ_SEL(gs, r->gs);
}

void segbase_save(struct vcpu *v)
{
	uint64_t gs = read_gs(), other = rdmsr(MSR_KERNEL_GS_BASE);

	segbase_read_selectors(&v->arch.regs);
	v->arch.fs_base = read_fs();
	v->arch.gs_base_kernel = v->arch.kernel_mode ? gs : other;
	v->arch.gs_base_user = v->arch.kernel_mode ? other : gs;
}

/* A selector that is null before and after need not be touched. */
#define SWITCH_SEL(name, val)                                           \
	({                                                              \
		uint16_t now_;                                          \
		READ_SEL(name, now_);                                   \
		((now_ | (uint16_t)(val)) == 0) || LOAD_SEL(name, val); \
	})

bool segbase_load(struct vcpu *v)
{
	struct cpu_user_regs *r = &v->arch.regs;
	bool ok = true;

	ok &= SWITCH_SEL(ds, r->ds);
	ok &= SWITCH_SEL(es, r->es);
	ok &= SWITCH_SEL(fs, r->fs);
	ok &= SWITCH_SEL(gs, r->gs);
	write_fs(v->arch.fs_base);
	write_gs(v->arch.kernel_mode ? v->arch.gs_base_kernel : v->arch.gs_base_user);
	wrmsr(MSR_KERNEL_GS_BASE,
	      v->arch.kernel_mode ? v->arch.gs_base_user : v->arch.gs_base_kernel);
	return ok;
}

long do_set_segment_base(uint64_t which, uint64_t base)
{
	struct vcpu *v = current_vcpu();

	switch (which) {
	case SEGBASE_FS:
		return segbase_write_fs(base) ? 0 : -XEN_EINVAL;
	case SEGBASE_GS_USER:
		return segbase_write_gs_user(v, base) ? 0 : -XEN_EINVAL;
	case SEGBASE_GS_KERNEL:
		return segbase_write_gs_kernel(v, base) ? 0 : -XEN_EINVAL;
	case SEGBASE_GS_USER_SEL: {
		/* The user's GS selector, and with it the descriptor's base. */
		uint64_t active = read_gs(), other = rdmsr(MSR_KERNEL_GS_BASE);
		uint16_t sel = base & 0xffff;

		/* One that cannot be loaded becomes null, and that is no error: guest kernels
		 * pass on what their users gave them. */
		(void)LOAD_SEL(gs, sel > 3 ? sel | 3 : sel);
		uint64_t loaded = read_gs();

		if (v->arch.kernel_mode) {
			write_gs(active);
			wrmsr(MSR_KERNEL_GS_BASE, loaded);
		} else {
			wrmsr(MSR_KERNEL_GS_BASE, other);
		}
		return 0;
	}
	default:
		return -XEN_EINVAL;
	}
}
