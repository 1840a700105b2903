/* SPDX-License-Identifier: MIT */
#include "core/x86/stale_code.h"

#include <arch/x86.h>

#include "core/arch.h"
#include "core/x86/uaccess.h"
#include "percpu/counters.h"

#define INSN_INT3 0xcc

static struct counter nr_stale = {.name = "stale_breakpoints"};

/* The byte at @va in the direct map, or NULL when it is not mapped now. */
static uint8_t *through_direct_map(mfn_t root, uint64_t va)
{
	mfn_t table = root;

	for (unsigned shift = 39; shift >= PAGE_SHIFT; shift -= 9) {
		const _Atomic uint64_t *e =
			(_Atomic uint64_t *)arch_mfn_to_virt(table) + (va >> shift & 511);
		uint64_t val = atomic_load_explicit(e, memory_order_relaxed);

		if (!(val & X86_PTE_P))
			return NULL;
		table = MFN((val & X86_PTE_ADDR) >> PAGE_SHIFT);
	}
	return (uint8_t *)arch_mfn_to_virt(table) + (va & (PAGE_SIZE - 1));
}

void stale_code_bp(struct vcpu *v, uint64_t rip)
{
	uint8_t byte, *p;

	if (copy_from_guest(&byte, rip - 1, 1) || likely(byte == INSN_INT3))
		return;
	p = through_direct_map(arch_root(&v->arch), rip - 1);
	if (!p)
		return;
	counter_register(&nr_stale);
	counter_inc(&nr_stale);
	/* Whoever the frame belongs to by now: the value stays what it is. */
	__asm__ volatile("lock orb $0, %0" : "+m"(*p));
}
