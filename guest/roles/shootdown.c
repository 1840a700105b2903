/* SPDX-License-Identifier: MIT */
/*
 * TLB shootdown. vCPU 0 changes one mapping over and over, each time with
 * another way to flush the others; they read and write through it all along.
 * Frame k of the sequence holds k: after the flush for k has returned (gen =
 * k), a read that gives less than k went through a stale entry.
 */
#include "roles/shootdown.h"
#include "rt/hypercall.h"
#include "rt/mem.h"
#include "rt/role.h"
#include "rt/smp.h"
#include "rt/trap.h"
#include <stdatomic.h>

#define VA (TEST_BASE + 0x200000)
#define FRAMES 8

static _Atomic uint64_t gen, ro_gen, stop;
static _Atomic unsigned int reading; /* vCPUs that have read at least once */
static _Atomic uint64_t reads, faults;

static void flush(unsigned int how, const unsigned long *all)
{
	struct mmuext_op op = {.arg1.linear_addr = VA};
	long rc;

	switch (how) {
	case 0:
		op.cmd = MMUEXT_INVLPG_ALL;
		break;
	case 1:
		op.cmd = MMUEXT_TLB_FLUSH_ALL;
		break;
	case 2:
		op.cmd = MMUEXT_INVLPG_MULTI;
		set_xen_guest_handle(op.arg2.vcpumask, all);
		break;
	default:
		op.cmd = MMUEXT_TLB_FLUSH_MULTI;
		set_xen_guest_handle(op.arg2.vcpumask, all);
	}
	rc = hc_mmuext(&op, 1, NULL);
	CHECK_EQ(rc, 0, "flush");
}

/* Change the entry and flush all vCPUs, in one of seven ways. */
static void remap(pte_t val, unsigned int how, const unsigned long *all)
{
	unsigned long fl = 0;

	switch (how % 7) {
	case 0:
		fl = UVMF_INVLPG | UVMF_ALL;
		break;
	case 1:
		fl = UVMF_TLB_FLUSH | UVMF_ALL;
		break;
	case 2:
		fl = UVMF_INVLPG | UVMF_MULTI | (unsigned long)all;
		break;
	default:
		CHECK_EQ(pt_set(pt_entry(kernel_l4, VA, 1), val), 0, "mmu_update");
		flush(how % 7 - 3, all);
		return;
	}
	CHECK_EQ(hc_update_va(VA, val, fl), 0, "update_va_mapping");
}

static void reader(void *arg)
{
	uint64_t n = 0, f = 0;
	unsigned long spins = 0;

	(void)arg;
	while (!atomic_load(&stop)) {
		uint64_t want = atomic_load(&gen), ro = atomic_load(&ro_gen), got;
		unsigned long st = probe_read((void *)VA, &got);

		CHECK_EQ(st, 0, "read fault");
		CHECK(got >= want, "stale TLB: read %lu after flush %lu", got, want);
		if (!n++)
			atomic_fetch_add(&reading, 1);
		/* The second word is for writers; odd ro_gen: read-only on all vCPUs. */
		st = probe_write((uint64_t *)VA + 1 + this_cpu()->id % 32, n);
		if (ro & 1 && atomic_load(&ro_gen) == ro)
			CHECK(st == FAULT(TRAP_PF), "stale TLB: write through a read-only entry");
		f += st != 0;
		spin_wait(&spins);
	}
	atomic_fetch_add(&reads, n);
	atomic_fetch_add(&faults, f);
}

void shootdown_test(unsigned long rounds)
{
	static unsigned long *all;
	static uint64_t *frame[FRAMES];
	uint64_t before = atomic_load(&gen); /* an earlier call's last */
	unsigned long spins = 0;

	for (unsigned int i = 0; !all && i < FRAMES; i++)
		frame[i] = page_alloc();
	all = all ? all : page_alloc();
	memset(all, 0xff, 64);
	atomic_store(&stop, 0);
	atomic_store(&reading, 0);
	atomic_store(&reads, 0);
	atomic_store(&faults, 0);
	pt_map(kernel_l4, VA, MK_PTE(virt_to_mfn(frame[before % FRAMES]), PTE_KERN));
	for (unsigned int i = 1; i < nr_cpus; i++)
		smp_call(i, reader, NULL);
	while (atomic_load(&reading) < nr_cpus - 1)
		spin_wait(&spins);
	for (uint64_t k = before + 1; k <= before + rounds; k++) {
		pte_t pte = MK_PTE(virt_to_mfn(frame[k % FRAMES]), PTE_KERN);

		*(volatile uint64_t *)frame[k % FRAMES] = k;
		remap(pte, (unsigned int)k, all);
		atomic_store(&gen, k);
		if (k % 4 == 0) {
			remap(pte & ~(PTE_RW | PTE_D), (unsigned int)(k / 4), all);
			atomic_fetch_add(&ro_gen, 1);
			for (int i = 0; i < 50; i++)
				spin_wait(&spins);
			atomic_fetch_add(&ro_gen, 1);
			remap(pte, (unsigned int)(k / 4 + 1), all);
		}
	}
	atomic_store(&stop, 1);
	for (unsigned int i = 1; i < nr_cpus; i++)
		smp_wait(i);
	CHECK(reads, "nobody read");
	printf("mini: smp shootdown ok rounds=%lu reads=%lu faults=%lu\n", rounds, reads, faults);
}
