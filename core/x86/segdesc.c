/* SPDX-License-Identifier: MIT */
/*
 * The guest's GDT and LDT frames stay the guest's: what the hardware reads is a copy per vCPU, made
 * when the table is installed and kept up by update_descriptor, mapped into the pCPU's window while
 * the vCPU runs. So a guest that writes its frames directly harms nobody and changes nothing.
 */
#include "core/x86/segdesc.h"

#include <arch/x86.h>

#include "core/arch.h"
#include "core/hypercall.h"
#include "core/lib.h"
#include "core/x86/gdt.h"
#include "core/xen_errno.h"

#define DESC_P (1UL << 47)
#define DESC_S (1UL << 44)
#define DESC_DPL (3UL << 45)
#define DESC_A (1UL << 40)
#define DESC_CODE (1UL << 43)
#define DESC_L (1UL << 53)
#define DESC_CONFORMING (1UL << 42)
#define PER_PAGE (PAGE_SIZE / 8)

bool segdesc_check(uint64_t *desc)
{
	uint64_t d = *desc;

	if (!(d & DESC_P))
		return true; /* not present: the hardware never looks further */
	if (!(d & DESC_S))
		return d == 0;
	if ((d & DESC_CODE) && (d & DESC_CONFORMING) && (d & DESC_DPL) != DESC_DPL)
		return false;
	*desc = d | DESC_DPL | DESC_A;
	return true;
}

/* Copy one frame of descriptors into a new page; bad ones become empty when @lenient. */
static int snapshot(mfn_t *out, const uint64_t *src, unsigned n)
{
	mfn_t m = page_alloc(PAGE_ALLOC_ZERO);
	uint64_t *dst;

	if (!mfn_valid_value(m))
		return -XEN_ENOMEM;
	dst = arch_mfn_to_virt(m);
	for (unsigned i = 0; i < n; i++) {
		uint64_t d = __atomic_load_n(&src[i], __ATOMIC_RELAXED);

		if (!segdesc_check(&d)) {
			page_free(m);
			return -XEN_EINVAL;
		}
		dst[i] = d;
	}
	*out = m;
	return 0;
}

/* After a grace period: another vCPU's update_descriptor may be writing into the copy. */
static void drop(mfn_t *pages, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (mfn_valid_value(pages[i]))
			page_free_rcu(pages[i]);
		pages[i] = INVALID_MFN;
	}
}

int segdesc_set_gdt(struct vcpu *v, const gfn_t *frames, unsigned entries)
{
	unsigned n = DIV_ROUND_UP(entries, PER_PAGE);
	mfn_t pages[GDT_GUEST_PAGES];
	int rc;

	if (entries > GDT_GUEST_PAGES * PER_PAGE)
		return -XEN_EINVAL;
	for (unsigned i = 0; i < GDT_GUEST_PAGES; i++)
		pages[i] = INVALID_MFN;
	for (unsigned i = 0; i < n; i++) {
		mfn_t src = mm_gfn_to_mfn(&v->domain->mm, frames[i]);

		rc = !mfn_valid_value(src) ? -XEN_EINVAL
					   : snapshot(&pages[i], arch_mfn_to_virt(src),
						      MIN(entries - i * PER_PAGE, PER_PAGE));
		if (rc) {
			drop(pages, n);
			return -XEN_EINVAL;
		}
	}
	/* The window must stop showing the old pages before they can be reused. */
	if (v == current_vcpu())
		gdt_map_guest(this_pcpu(), pages, n);
	for (unsigned i = 0; i < GDT_GUEST_PAGES; i++) {
		gfn_t frame = i < n ? frames[i] : INVALID_GFN;

		/* Release: the copy is filled. PAIRS: gdt_pages */
		pages[i].v =
			__atomic_exchange_n(&v->arch.gdt_pages[i].v, pages[i].v, __ATOMIC_RELEASE);
		__atomic_store_n(&v->arch.gdt_frames[i].v, frame.v, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&v->arch.gdt_ents, entries, __ATOMIC_RELAXED);
	drop(pages, GDT_GUEST_PAGES);
	return 0;
}

static void ldt_load(struct pcpu *p, struct vcpu *v)
{
	unsigned n = DIV_ROUND_UP(v->arch.ldt_ents, PER_PAGE);
	uint64_t va = LDTS_VIRT + p->id * DT_STRIDE;

	for (unsigned i = 0; i < 16; i++) {
		p->arch.ldt_ptes[i] = i < n ? v->arch.ldt_pages[i].v << PAGE_SHIFT | X86_PTE_P |
						      X86_PTE_RW | X86_PTE_A | X86_PTE_D |
						      X86_PTE_NX
					    : 0;
		__asm__ volatile("invlpg (%0)" ::"r"(va + i * PAGE_SIZE) : "memory");
	}
	if (v->arch.ldt_ents) {
		/* The descriptor's limit decides what exists; lldt reads it anew. */
		uint64_t *d = (uint64_t *)p->arch.gdt_page + (HYP_LDT & 0xfff) / 8;

		*d = (*d & ~0xffffUL & ~(0xfUL << 48)) | (v->arch.ldt_ents * 8 - 1);
		__asm__ volatile("lldt %w0" ::"r"(HYP_LDT));
		p->arch.ldt_loaded = true;
	} else if (p->arch.ldt_loaded) {
		__asm__ volatile("lldt %w0" ::"r"(0));
		p->arch.ldt_loaded = false;
	}
}

void segdesc_load(struct vcpu *v)
{
	struct pcpu *p = this_pcpu();

	gdt_map_guest(p, v->arch.gdt_pages, DIV_ROUND_UP(v->arch.gdt_ents, PER_PAGE));
	if (v->arch.ldt_ents || p->arch.ldt_loaded)
		ldt_load(p, v);
}

void segdesc_free(struct vcpu *v)
{
	drop(v->arch.gdt_pages, GDT_GUEST_PAGES);
	drop(v->arch.ldt_pages, 16);
	v->arch.gdt_ents = 0;
	v->arch.ldt_ents = 0;
}

static int ldt_snapshot(struct vcpu *v, uint64_t gva, unsigned ents)
{
	unsigned n = DIV_ROUND_UP(ents, PER_PAGE);
	mfn_t pages[16];
	int rc = 0;

	for (unsigned i = 0; i < 16; i++)
		pages[i] = INVALID_MFN;
	for (unsigned i = 0; i < n && !rc; i++) {
		uint64_t buf[64];
		unsigned left = MIN(ents - i * PER_PAGE, PER_PAGE);
		mfn_t m = page_alloc(PAGE_ALLOC_ZERO);

		if (!mfn_valid_value(m)) {
			rc = -XEN_ENOMEM;
			break;
		}
		pages[i] = m;
		for (unsigned k = 0; k < left && !rc; k += 64) {
			unsigned c = MIN(left - k, 64U);

			rc = copy_from_guest(buf, gva + i * PAGE_SIZE + k * 8, c * 8);
			for (unsigned j = 0; j < c && !rc; j++) {
				if (!segdesc_check(&buf[j]))
					rc = -XEN_EINVAL;
				((uint64_t *)arch_mfn_to_virt(m))[k + j] = buf[j];
			}
		}
	}
	if (rc) {
		drop(pages, 16);
		return rc;
	}
	mfn_t old[16];

	memcpy(old, v->arch.ldt_pages, sizeof(old));
	memcpy(v->arch.ldt_pages, pages, sizeof(pages));
	v->arch.ldt_base = gva;
	v->arch.ldt_ents = ents;
	ldt_load(this_pcpu(), v);
	drop(old, 16);
	return 0;
}

long arch_set_ldt(uint64_t gva, uint64_t ents)
{
	if (ents > 8192 || (ents && (gva & ~PAGE_MASK)))
		return -XEN_EINVAL;
	return ldt_snapshot(current_vcpu(), ents ? gva : 0, ents);
}

long do_set_gdt(uint64_t frame_list, uint64_t entries)
{
	struct vcpu *v = current_vcpu();
	uint64_t raw[GDT_GUEST_PAGES];
	gfn_t frames[GDT_GUEST_PAGES];

	if (entries > GDT_GUEST_PAGES * PER_PAGE)
		return -XEN_EINVAL;

	unsigned n = DIV_ROUND_UP((unsigned)entries, PER_PAGE);

	if (copy_from_guest(raw, frame_list, n * sizeof(uint64_t)))
		return -XEN_EFAULT;
	for (unsigned i = 0; i < n; i++)
		frames[i] = GFN(raw[i]);
	return segdesc_set_gdt(v, frames, entries);
}

/*
 * Put a changed descriptor into the copies that were made of its frame. @v may be another vCPU that
 * is just installing a table: each word below is then of the old or of the new one, and any copy
 * found is one of the domain's, of checked descriptors, that lives to the end of this RCU section.
 */
static bool refresh(struct vcpu *v, gfn_t gfn, unsigned idx, uint64_t desc)
{
	unsigned ents = __atomic_load_n(&v->arch.gdt_ents, __ATOMIC_RELAXED);
	bool hit = false;

	for (unsigned i = 0; i * PER_PAGE + idx < ents; i++) {
		mfn_t copy;

		if (__atomic_load_n(&v->arch.gdt_frames[i].v, __ATOMIC_RELAXED) != gfn.v)
			continue;
		/* PAIRS: gdt_pages */
		copy = MFN(__atomic_load_n(&v->arch.gdt_pages[i].v, __ATOMIC_ACQUIRE));
		if (!mfn_valid_value(copy))
			continue;
		__atomic_store_n((uint64_t *)arch_mfn_to_virt(copy) + idx, desc, __ATOMIC_RELAXED);
		hit = true;
	}
	return hit;
}

long do_update_descriptor(uint64_t maddr, uint64_t desc)
{
	struct vcpu *v = current_vcpu();
	gfn_t gfn = GFN(maddr >> PAGE_SHIFT);
	unsigned idx = (maddr & ~PAGE_MASK) / 8;
	uint64_t val = desc;
	mfn_t m;

	if (maddr & 7)
		return -XEN_EINVAL;
	if (!segdesc_check(&val))
		return -XEN_EINVAL;
	m = mm_gfn_get_writable(&v->domain->mm, gfn);
	if (!mfn_valid_value(m))
		return -XEN_EINVAL;
	__atomic_store_n((uint64_t *)arch_mfn_to_virt(m) + idx, desc, __ATOMIC_RELAXED);
	/*
	 * A GDT frame belongs to one vCPU in every kernel we know, mostly to the current one. The
	 * store into another's copy is one word, seen by its next selector load.
	 */
	if (!refresh(v, gfn, idx, val))
		for (unsigned i = 0; i < v->domain->max_vcpus; i++)
			if (v->domain->vcpu[i] != v)
				refresh(v->domain->vcpu[i], gfn, idx, val);
	if (v->arch.ldt_ents)
		for (unsigned i = 0; i * PER_PAGE < v->arch.ldt_ents; i++) {
			uint64_t pte;

			if (mm_translate(&v->domain->mm, v->arch.kernel_root,
					 v->arch.ldt_base + i * PAGE_SIZE, &pte) == 0 &&
			    (pte & X86_PTE_ADDR) >> PAGE_SHIFT == gfn.v &&
			    i * PER_PAGE + idx < v->arch.ldt_ents)
				((uint64_t *)arch_mfn_to_virt(v->arch.ldt_pages[i]))[idx] = val;
		}
	return 0;
}
