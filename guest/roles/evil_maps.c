/* SPDX-License-Identifier: MIT */
/* Attempts to reach memory that belongs to others, by every kind of mapping. */
#include "roles/evil.h"
#include "rt/hypercall.h"
#include "rt/mem.h"
#include "rt/role.h"
#include "rt/trap.h"

#define VA (TEST_BASE + 0x600000)

static bool own(unsigned long mfn)
{
	unsigned long pfn = mfn_to_pfn(mfn);

	return (pfn < nr_pages && pfn_to_mfn(pfn) == mfn) ||
	       mfn == start_info->shared_info >> PAGE_SHIFT ||
	       mfn == start_info->console.domU.mfn || mfn == start_info->store_mfn;
}

static unsigned long random_mfn(void)
{
	switch (rnd() % 4) {
	case 0:
		return rnd() & 0xffffffffffUL;
	case 1:
		return rnd() & 0xffffffff;
	default:
		return rnd() % 0x80000; /* the first 2 GiB: other domains, the hypervisor */
	}
}

static void test_random_mfns(unsigned long n)
{
	unsigned long refused = 0, mapped = 0;
	/* The initial domain may map device memory, which M2P and RAM do not tell. */
	bool dom0 = start_info->flags & SIF_INITDOMAIN;

	pt_map(kernel_l4, VA, 0);
	for (unsigned long i = 0; i < n; i++) {
		unsigned long mfn = random_mfn();
		pte_t flags = PTE_P | (rnd() & (PTE_RW | PTE_US | PTE_A | PTE_D));
		long rc;

		if (own(mfn))
			continue;
		if (i & 1)
			rc = hc_update_va(VA, MK_PTE(mfn, flags), UVMF_INVLPG);
		else
			rc = pt_set(pt_entry(kernel_l4, VA, 1), MK_PTE(mfn, flags));
		if (rc) {
			refused++;
			CHECK(probe_read((void *)VA, NULL), "read through a refused mapping");
			continue;
		}
		mapped++;
		CHECK(dom0, "mapped frame %lx, which is not its own", mfn);
		CHECK_EQ(hc_update_va(VA, 0, UVMF_INVLPG), 0, "unmap");
	}
	printf("mini: evil maps random refused=%lu mapped=%lu\n", refused, mapped);
}

static void test_tables_from_foreign(unsigned long n)
{
	for (unsigned long i = 0; i < n; i++) {
		int level = 2 + (int)(rnd() % 3);
		pte_t *e = pt_entry(kernel_l4, VA + (rnd() % 64 << 30), level);
		unsigned long mfn = random_mfn();

		if (!e || *e & PTE_P || own(mfn))
			continue;
		CHECK(pt_set(e, MK_PTE(mfn, PTE_TABLE)) < 0, "frame %lx as a table, level %d", mfn,
		      level);
		CHECK(mmuext_simple(MMUEXT_PIN_L1_TABLE + (unsigned int)level - 1, mfn) < 0,
		      "pinned frame %lx", mfn);
		CHECK(mmuext_simple(MMUEXT_NEW_BASEPTR, mfn) < 0, "base pointer %lx", mfn);
		CHECK(mmuext_simple(MMUEXT_NEW_USER_BASEPTR, mfn) < 0, "user base %lx", mfn);
		CHECK(mmuext_simple(MMUEXT_CLEAR_PAGE, mfn) < 0, "cleared %lx", mfn);
	}
	printf("mini: evil maps tables ok\n");
}

static void test_hypervisor_slots(void)
{
	pte_t *l4 = pfn_to_virt(kernel_l4), *l3 = pt_page_alloc();
	unsigned long reachable = 0;

	for (unsigned int i = 256; i < 272; i++) {
		unsigned long va = 0xffff800000000000UL + ((i - 256UL) << 39);
		long rc = pt_set(&l4[i], MK_PTE(virt_to_mfn(l3), PTE_TABLE));

		/* Refused, or at least without effect on what the MMU does. */
		if (!rc)
			pt_set(&l4[i], 0);
		for (unsigned long off = 0; off < 1UL << 39; off += 1UL << 33) {
			CHECK(probe_write((void *)(va + off), 0), "wrote at %lx", va + off);
			if (i > 256)
				reachable += !probe_read((void *)(va + off), NULL);
		}
		CHECK(hc_update_va(va, MK_PTE(virt_to_mfn(l3), PTE_KERN), 0) < 0,
		      "update_va_mapping in the hypervisor's area");
	}
	CHECK_EQ(reachable, 0, "hypervisor addresses read");
	CHECK(!probe_read(&machine_to_phys_mapping[virt_to_mfn(l4)], NULL), "M2P is gone");
	CHECK(probe_write(&machine_to_phys_mapping[virt_to_mfn(l4)], 0), "wrote the M2P");
	pt_page_free(l3);
	printf("mini: evil maps hypervisor ok\n");
}

static void test_odd_entries(void)
{
	static const pte_t odd[] = {PTE_PSE, 1UL << 51, 1UL << 62, 1UL << 52, 0x18, 1UL << 8};
	pte_t *e2 = pt_entry(kernel_l4, VA + 0x200000, 2), *e1 = pt_entry(kernel_l4, VA, 1);
	unsigned long mfn = virt_to_mfn(page_alloc());

	CHECK(pt_set(e2, MK_PTE(mfn, PTE_KERN | PTE_PSE)) < 0, "2 MiB entry");
	for (unsigned int i = 0; i < ARRAY_LEN(odd); i++) {
		/* Accepted or not: what it gives must be this page or nothing. */
		if (pt_set(e1, MK_PTE(mfn, PTE_KERN) | odd[i]) == 0) {
			mmuext_simple(MMUEXT_INVLPG_LOCAL, VA);
			probe_write((void *)VA, 1);
		}
		CHECK_EQ(pt_set(e1, 0), 0, "unmap");
	}
	printf("mini: evil maps odd entries ok\n");
}

void evil_maps(void)
{
	unsigned long n = arg_num("iters", 3000);

	test_random_mfns(n);
	test_tables_from_foreign(n);
	test_hypervisor_slots();
	test_odd_entries();
}

/*
 * Page tables written behind the hypervisor's back: first refused or not, a
 * writable mapping of a live table; then table pages filled with entries for
 * foreign frames before they become tables, and stores of such entries into
 * read-only tables. None may give access to memory that is not ours.
 */
void evil_ptwrite(void)
{
	unsigned long n = arg_num("iters", 500), writable = 0, took = 0, bad_pins = 0;
	pte_t *l1, *fresh = page_alloc();

	pt_map(kernel_l4, VA, 0);
	l1 = (pte_t *)((unsigned long)pt_entry(kernel_l4, VA, 1) & PAGE_MASK);
	pt_map(kernel_l4, VA + 0x200000, 0);
	for (unsigned long i = 0; i < n; i++) {
		unsigned long mfn = random_mfn(), idx = rnd() % 512;
		pte_t bad = MK_PTE(mfn, PTE_KERN | (rnd() & PTE_US));
		volatile pte_t *alias = (pte_t *)(VA + 0x200000);

		if (own(mfn))
			continue;
		/* A second, writable mapping of the live L1. */
		if (!hc_update_va((unsigned long)alias, MK_PTE(virt_to_mfn(l1), PTE_KERN),
				  UVMF_INVLPG)) {
			writable++;
			if (!probe_write(&alias[idx], bad)) {
				mmuext_simple(MMUEXT_TLB_FLUSH_LOCAL, 0);
				took += !probe_read((void *)((VA & ~0x1fffffUL) + idx * PAGE_SIZE),
						    NULL);
				probe_write(&alias[idx], 0);
			}
			hc_update_va((unsigned long)alias, 0, UVMF_INVLPG);
		}
		/* A store to the read-only mapping: a fault, or an entry without effect. */
		if (!probe_write(&l1[idx], bad)) {
			took += !probe_read((void *)((VA & ~0x1fffffUL) + idx * PAGE_SIZE), NULL);
			probe_write(&l1[idx], 0);
		}
		/* A table with the entry in it from the start. */
		fresh[idx] = bad;
		page_make_ro(fresh);
		if (!mmuext_pin(1, virt_to_pfn(fresh))) {
			bad_pins++;
			mmuext_unpin(virt_to_pfn(fresh));
		}
		page_make_rw(fresh);
		fresh[idx] = 0;
	}
	printf("mini: evil ptwrite writable_aliases=%lu bad_pins=%lu\n", writable, bad_pins);
	/* The initial domain may map device memory. */
	CHECK(!took || start_info->flags & SIF_INITDOMAIN, "%lu foreign frames reached", took);
}
