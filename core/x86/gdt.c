/* SPDX-License-Identifier: MIT */
/* Descriptor tables, TSS, IDT, syscall stub and stacks of a pCPU. */
#include "core/x86/gdt.h"

#include <arch/vcpu.h>
#include <arch/x86.h>

#include "core/lib.h"
#include "core/x86/paging.h"
#include "memsvc/frame.h"

/* Inside a pCPU's stack region: IST stacks below, a guard page, the main stack above. */
#define STACK_NMI_END 0x1000
#define STACK_DF_END 0x2000
#define STACK_MC_END 0x2800
#define STACK_DB_END 0x3000
#define STACK_GUARD 0x3000
#define STACK_MAIN 0x4000

#define IST_NMI 1
#define IST_DF 2
#define IST_MC 3
#define IST_DB 4

struct idt_gate {
	uint16_t off0, sel;
	uint8_t ist, type;
	uint16_t off1;
	uint32_t off2, zero;
};

struct desc_ptr {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

extern char trap_stubs[];
extern char syscall_stub[], syscall_stub_end[], syscall32_stub[], syscall32_stub_end[];
extern char syscall_common[], syscall32_common[];

static struct idt_gate idt[256];
static mfn_t zero_frame;

static uint64_t stack_base(unsigned id)
{
	return STACKS_VIRT + id * STACK_STRIDE + STACK_STRIDE - STACK_SIZE;
}

static mfn_t need_frame(void)
{
	mfn_t m = page_alloc(PAGE_ALLOC_ZERO);

	if (!mfn_valid_value(m))
		panic("out of memory bringing up pCPUs");
	return m;
}

static void idt_fill(void)
{
	for (unsigned v = 0; v < 256; v++) {
		uint64_t addr = (uint64_t)trap_stubs + v * 16;

		idt[v] = (struct idt_gate){
			.off0 = addr,
			.off1 = addr >> 16,
			.off2 = addr >> 32,
			.sel = HYP_CS,
			.type = v == VEC_BP || v == VEC_OF ? 0xee : 0x8e,
			.ist = v == VEC_NMI  ? IST_NMI
			       : v == VEC_DF ? IST_DF
			       : v == VEC_MC ? IST_MC
			       : v == VEC_DB ? IST_DB
					     : 0,
		};
	}
}

/* The hypervisor's descriptors, at selectors 0xe000 and up; the user ones are Xen's FLAT_RING3_*. */
static void gdt_fill(struct pcpu *p)
{
	uint64_t *g = p->arch.gdt_page;
	uint64_t tss = (uint64_t)&p->arch.tss;
	uint64_t ldt = LDTS_VIRT + p->id * DT_STRIDE;

	g[(HYP_CS & 0xfff) / 8] = 0x00af9b000000ffff;
	g[(HYP_SS & 0xfff) / 8] = 0x00cf93000000ffff;
	g[(FLAT_RING3_CS32 & 0xff8) / 8] = 0x00cffb000000ffff;
	g[(FLAT_RING3_DS32 & 0xff8) / 8] = 0x00cff3000000ffff;
	g[(FLAT_RING3_CS64 & 0xff8) / 8] = 0x00affb000000ffff;
	g[(HYP_TSS & 0xfff) / 8] = (sizeof(struct tss64) - 1) | (tss & 0xffffff) << 16 |
				   0x89UL << 40 | (tss >> 24 & 0xff) << 56;
	g[(HYP_TSS & 0xfff) / 8 + 1] = tss >> 32;
	g[(HYP_LDT & 0xfff) / 8] =
		0xffffUL | (ldt & 0xffffff) << 16 | 0x82UL << 40 | (ldt >> 24 & 0xff) << 56;
	g[(HYP_LDT & 0xfff) / 8 + 1] = ldt >> 32;
}

static void stub_fill(unsigned id)
{
	mfn_t code = need_frame(), data = need_frame();
	uint64_t *d = arch_mfn_to_virt(data);
	uint64_t va = STUBS_VIRT + id * 2 * PAGE_SIZE;

	memcpy(arch_mfn_to_virt(code), syscall_stub, syscall_stub_end - syscall_stub);
	memcpy((char *)arch_mfn_to_virt(code) + 128, syscall32_stub,
	       syscall32_stub_end - syscall32_stub);
	d[1] = stack_base(id) + STACK_SIZE - (sizeof(struct cpu_info) - 168);
	d[2] = (uint64_t)syscall_common;
	d[3] = (uint64_t)syscall32_common;
	paging_map(va, code.v << PAGE_SHIFT, 0);
	paging_map(va + PAGE_SIZE, data.v << PAGE_SHIFT, X86_PTE_RW | X86_PTE_NX);
}

void gdt_prepare(struct pcpu *p)
{
	uint64_t base = stack_base(p->id);
	uint64_t gdt = GDTS_VIRT + p->id * DT_STRIDE;
	uint64_t ldt = LDTS_VIRT + p->id * DT_STRIDE;
	mfn_t own = need_frame();

	if (!zero_frame.v) {
		zero_frame = need_frame();
		idt_fill();
	}
	for (uint64_t off = 0; off < STACK_SIZE; off += PAGE_SIZE)
		if (off != STACK_GUARD)
			paging_map(base + off, need_frame().v << PAGE_SHIFT,
				   X86_PTE_RW | X86_PTE_NX);
	p->arch.stack_top = base + STACK_SIZE;

	struct cpu_info *info = (struct cpu_info *)p->arch.stack_top - 1;

	info->pcpu = p;
	info->sites = contention_offset(&p->contention);
	p->arch.tss.rsp[0] = (uint64_t)&info->regs + 168;
	p->arch.tss.ist[IST_NMI - 1] = base + STACK_NMI_END;
	p->arch.tss.ist[IST_DF - 1] = base + STACK_DF_END;
	p->arch.tss.ist[IST_MC - 1] = base + STACK_MC_END;
	p->arch.tss.ist[IST_DB - 1] = base + STACK_DB_END;
	p->arch.tss.iomap = sizeof(struct tss64);

	p->arch.gdt_page = arch_mfn_to_virt(own);
	p->arch.gdt_ptes = paging_pte(gdt);
	p->arch.ldt_ptes = paging_pte(ldt);
	gdt_map_guest(p, NULL, 0);
	paging_map(gdt + GDT_GUEST_PAGES * PAGE_SIZE, own.v << PAGE_SHIFT, X86_PTE_RW | X86_PTE_NX);
	gdt_fill(p);
	stub_fill(p->id);
}

void gdt_map_guest(struct pcpu *p, const mfn_t *pages, unsigned n)
{
	for (unsigned i = 0; i < GDT_GUEST_PAGES; i++) {
		mfn_t m = i < n ? pages[i] : zero_frame;
		uint64_t pte = m.v << PAGE_SHIFT | X86_PTE_P | X86_PTE_A | X86_PTE_NX;

		/* Accessed bits are set in advance: the zero page stays unwritten. */
		if (i < n)
			pte |= X86_PTE_RW | X86_PTE_D;
		if (p->arch.gdt_ptes[i] != pte) {
			p->arch.gdt_ptes[i] = pte;
			__asm__ volatile(
				"invlpg (%0)" ::"r"(GDTS_VIRT + p->id * DT_STRIDE + i * PAGE_SIZE)
				: "memory");
		}
	}
}

void gdt_load(struct pcpu *p)
{
	struct desc_ptr gp = {(GDT_GUEST_PAGES + 1) * PAGE_SIZE - 1, GDTS_VIRT + p->id * DT_STRIDE};
	struct desc_ptr ip = {sizeof(idt) - 1, (uint64_t)idt};
	uint64_t stub = STUBS_VIRT + p->id * 2 * PAGE_SIZE;

	__asm__ volatile("lgdt %0\n\tlidt %1" ::"m"(gp), "m"(ip));
	__asm__ volatile("push %0\n\tlea 1f(%%rip), %%rax\n\tpush %%rax\n\tlretq\n1:\n\t"
			 "mov %1, %%ss\n\tmov %2, %%ds\n\tmov %2, %%es\n\tmov %2, %%fs\n\t"
			 "mov %2, %%gs\n\tltr %w3\n\tlldt %w2" ::"i"(HYP_CS),
			 "r"(HYP_SS), "r"(0), "r"(HYP_TSS)
			 : "rax", "memory");
	wrmsr(MSR_STAR, (uint64_t)FLAT_RING3_CS32 << 48 | (uint64_t)HYP_CS << 32);
	wrmsr(MSR_LSTAR, stub);
	wrmsr(MSR_CSTAR, stub + 128);
	wrmsr(MSR_SFMASK, X86_FLAGS_TF | X86_FLAGS_IF | X86_FLAGS_DF | X86_FLAGS_IOPL |
				  X86_FLAGS_NT | X86_FLAGS_RF | X86_FLAGS_AC | X86_FLAGS_VM);
	wrmsr(MSR_SYSENTER_CS, 0);
}
