/* SPDX-License-Identifier: MIT */
/*
 * The pCPU as the hardware sees it. The pCPU's stack is aligned to its size and struct cpu_info
 * lies at its top, so this_pcpu() is a mask and a load; no segment base is used and the guest's
 * FS and GS stay its own.
 */
#ifndef ARCH_CPU_H
#define ARCH_CPU_H

#include <arch/layout.h>
#include <stdint.h>
#include "core/types.h"

#include <xen/xen.h>

struct pcpu;
struct vcpu;

/* Where a trap from a guest saves its registers; TSS.RSP0 points at the end of regs.ss. */
struct cpu_info {
	struct cpu_user_regs regs;
	struct pcpu *pcpu;
	uintptr_t sites; /* contention_offset() */
};

static inline struct cpu_info *cpu_info(void)
{
	uint64_t sp;

	__asm__("mov %%rsp, %0" : "=r"(sp));
	return (struct cpu_info *)((sp & ~(STACK_SIZE - 1)) + STACK_SIZE) - 1;
}

static inline struct pcpu *this_pcpu(void)
{
	return cpu_info()->pcpu;
}

/* The guest's registers on this pCPU's stack. */
static inline struct cpu_user_regs *guest_regs(void)
{
	return &cpu_info()->regs;
}

static inline uintptr_t arch_sites(void)
{
	return cpu_info()->sites;
}

static inline void arch_count(uint64_t *v)
{
	__asm__("incq %0" : "+m"(*v));
}

/* Called where it must not cost registers: the callee saves all. */
#define COLD_CALL __attribute__((noinline, cold, no_caller_saved_registers))

static inline void cpu_relax(void)
{
	__asm__ volatile("pause" ::: "memory");
}

/**
 * arch_take_irqs() - let in the interrupts and kicks that are pending: they set pcpu.work, and serve
 * requests for a flush. Interrupts off before and after; where a TLB flush does no harm.
 */
static inline void arch_take_irqs(void)
{
	/* STI takes effect after the next instruction. */
	__asm__ volatile("sti\n\tnop\n\tcli" ::: "memory");
}

static inline uint64_t arch_cycles(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return lo | (uint64_t)hi << 32;
}

struct tss64 {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3;
	uint16_t iomap;
} __attribute__((packed));

/* Private to the pCPU: written only by itself after bring-up. */
struct arch_pcpu {
	uint32_t apic_id;
	uint64_t stack_top; /* end of cpu_info */
	struct tss64 tss;
	void *gdt_page;		/* the hypervisor's own GDT page (index 14) */
	uint64_t *gdt_ptes;	/* 16 entries of the GDT window */
	uint64_t *ldt_ptes;	/* 16 entries of the LDT window */
	struct vcpu *fpu_owner; /* whose state the FPU registers hold, or NULL */
	bool ldt_loaded;
	bool dr_loaded;
	bool ts_set;	      /* CR0.TS as it is now */
	uint64_t xcr0;	      /* XCR0 as it is now */
	uint64_t deadline_ns; /* armed APIC timer deadline, TIME_NEVER if none */
};

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return lo | (uint64_t)hi << 32;
}

static inline void wrmsr(uint32_t msr, uint64_t val)
{
	__asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)val), "d"((uint32_t)(val >> 32))
			 : "memory");
}

static inline void cpuid_raw(uint32_t leaf, uint32_t sub, uint32_t out[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
			 : "a"(leaf), "c"(sub));
}

#define DEF_CR(n)                                                        \
	static inline uint64_t read_cr##n(void)                          \
	{                                                                \
		uint64_t v;                                              \
		__asm__ volatile("mov %%cr" #n ", %0" : "=r"(v));        \
		return v;                                                \
	}                                                                \
	static inline void write_cr##n(uint64_t v)                       \
	{                                                                \
		__asm__ volatile("mov %0, %%cr" #n ::"r"(v) : "memory"); \
	}
DEF_CR(0)
DEF_CR(2)
DEF_CR(3)
DEF_CR(4)
#undef DEF_CR

static inline void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline void outw(uint16_t port, uint16_t v)
{
	__asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port));
}

static inline uint16_t inw(uint16_t port)
{
	uint16_t v;

	__asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline void outl(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port));
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

#endif
