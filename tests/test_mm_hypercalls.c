/* SPDX-License-Identifier: MIT */
/* Results of the memory hypercalls: errno as Xen's, partial counts, continuations, teardown. */
#include "mm_test.h"

#include <xen/memory.h>

static void begin(void)
{
	machine_memory();
	host_sim_init(1);
	domain_make(T_NAMES, 2);
	cr_assert_eq(mm_populate(mm, GFN(0), T_NAMES), T_NAMES);
	linear_tree();
	t_pins[1] = 1;
	t_pin_level[1] = 4;
	t_bases[1] = 1;
	check_all();
}

static void end(void)
{
	check_all();
	arch_context_switch(dom->vcpu[0], NULL);
	domain_done();
}

static long update(uint64_t ptr, uint64_t val)
{
	struct mmu_update u = {ptr, val};
	long rc = hc4(do_mmu_update, (uint64_t)&u, 1, 0, DOMID_SELF);

	reap_all();
	return rc;
}

static long ext(unsigned cmd, uint64_t arg1, uint64_t arg2)
{
	struct mmuext_op op = {.cmd = cmd};
	long rc;

	op.arg1.mfn = arg1;
	op.arg2.src_mfn = arg2;
	rc = hc4(do_mmuext_op, (uint64_t)&op, 1, 0, DOMID_SELF);
	reap_all();
	return rc;
}

#define AT(table, i) ((uint64_t)(table) << 12 | (i) << 3)

Test(mm_hypercalls, mmu_update_errno)
{
	const struct {
		uint64_t ptr, val;
		long rc;
	} t[] = {
		{AT(7, 20), entry(20, P_RW_AD), 0},
		{AT(7, 20), 0, 0},
		{AT(7, 20), entry(T_NAMES, P_RW_AD), -XEN_EINVAL}, /* not its own */
		{AT(7, 20), entry(1UL << 30, P_RW_AD), -XEN_EINVAL},
		{AT(7, 20), PTE_ADDR | P_RW_AD, -XEN_EINVAL},
		{AT(7, 20), entry(5, P_RW_AD), -XEN_EBUSY}, /* a live table writable */
		{AT(7, 20), entry(5, P_RO_A), 0},
		{AT(5, 9), entry(20, P_TABLE), 0}, /* 20 becomes an L1 */
		{AT(5, 9), entry(21, P_TABLE | PTE_PSE), -XEN_EINVAL},
		{AT(5, 9), entry(21, P_TABLE | PTE_G), -XEN_EINVAL},
		{AT(5, 10), entry(3, P_TABLE), -XEN_EINVAL},  /* other level */
		{AT(1, 1), entry(1, P_TABLE), -XEN_EINVAL},   /* itself */
		{AT(1, 256), entry(3, P_TABLE), -XEN_EINVAL}, /* the hypervisor's slots */
		{AT(1, 271), 1, -XEN_EINVAL},
		{AT(1, 256), 0, 0}, /* as it is */
		{AT(1, 272), entry(3, P_TABLE), 0},
		{AT(T_NAMES, 0), 0, -XEN_EINVAL},
		{~7ULL, 0, -XEN_EINVAL},
		{AT(30, 5), 0x1234567, 0}, /* plain memory */
		{AT(30, 5) | 5, 0, -XEN_ENOSYS},
		{AT(30, 0) | MMU_MACHPHYS_UPDATE, 30, 0},
		{AT(30, 0) | MMU_MACHPHYS_UPDATE, 31, -XEN_EINVAL},
		{AT(5, 11), entry(40, P_TABLE), -XEN_EINVAL}, /* mapped writable */
	};

	begin();
	cr_assert_eq(update(AT(7, 20), 0), 0); /* so that 20 is mapped nowhere */
	cr_assert_eq(update(AT(7, 21), 0), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		long rc = update(t[i].ptr, t[i].val);

		cr_assert_eq(rc, t[i].rc, "case %u: %ld, expected %ld", i, rc, t[i].rc);
		for (unsigned g = 0; g < 32; g++)
			t_touched[g] = true;
		check_all();
	}
	cr_assert_eq(guest_page(30)[5], 0x1234567);
	end();
}

Test(mm_hypercalls, mmu_update_lists)
{
	struct mmu_update u[40];
	uint32_t done;

	begin();
	for (unsigned i = 0; i < 40; i++)
		u[i] = (struct mmu_update){AT(7, 100 + i), entry(100 + i, P_RO_A)};
	u[25].val = entry(T_NAMES + 1, P_RW_AD);
	done = 77;
	cr_assert_eq(hc4(do_mmu_update, (uint64_t)u, 40, (uint64_t)&done, DOMID_SELF), -XEN_EINVAL);
	cr_assert_eq(done, 25);
	cr_assert_eq(guest_page(7)[124], entry(124, P_RO_A));
	cr_assert_eq(guest_page(7)[125], entry(125, P_RW_AD));
	u[25].val = 0;

	/* Preempted after every batch: the continuation's arguments say where it got. */
	unsigned calls = 0;
	uint64_t *args = current_vcpu()->hc.args;
	long rc;

	args[0] = (uint64_t)u, args[1] = 40, args[2] = (uint64_t)&done, args[3] = DOMID_SELF;
	do {
		this_pcpu()->work |= WORK_RESCHED;
		rc = do_mmu_update(args[0], args[1], args[2], args[3]);
		calls++;
	} while (rc == -HC_CONTINUE);
	this_pcpu()->work = 0;
	cr_assert_eq(rc, 0);
	cr_assert_eq(done, 40);
	cr_assert_eq(calls, 5);
	cr_assert_eq(guest_page(7)[139], entry(139, P_RO_A));

	cr_assert_eq(do_mmu_update(8, 1, 0, DOMID_SELF), -XEN_EFAULT);
	cr_assert_eq(do_mmu_update((uint64_t)u, 1, 0, DOMID_IO), -XEN_EPERM);
	cr_assert_eq(do_mmu_update((uint64_t)u, 1, 0, 77), -XEN_ESRCH);
	cr_assert_eq(do_mmu_update((uint64_t)u, 1, 0, DOMID_SELF | 5u << 16), -XEN_EPERM);
	cr_assert_eq(do_mmu_update((uint64_t)u, 0, 0, DOMID_SELF), 0);
	end();
}

Test(mm_hypercalls, preserve_ad)
{
	begin();
	guest_page(7)[50] = entry(50, PTE_P | PTE_RW | PTE_A);
	cr_assert_eq(update(AT(7, 50) | MMU_PT_UPDATE_PRESERVE_AD, entry(50, PTE_P | PTE_D)), 0);
	cr_assert_eq(guest_page(7)[50], entry(50, PTE_P | PTE_A));
	end();
}

Test(mm_hypercalls, update_va_mapping)
{
	uint64_t all = 3;

	begin();
	cr_assert_eq(do_update_va_mapping(60 << 12, entry(61, P_RO_A), UVMF_NONE), 0);
	cr_assert_eq(guest_page(7)[60], entry(61, P_RO_A));
	cr_assert_eq(do_update_va_mapping(60 << 12, entry(T_NAMES, P_RO_A), UVMF_INVLPG),
		     -XEN_EINVAL);
	cr_assert_eq(do_update_va_mapping(60 << 12, entry(7, P_RW_AD), UVMF_INVLPG), -XEN_EBUSY);
	cr_assert_eq(do_update_va_mapping(1UL << 39, 0, UVMF_NONE), -XEN_EINVAL);
	cr_assert_eq(do_update_va_mapping(0xffff800000000000UL, 0, UVMF_NONE), -XEN_EINVAL);
	uint32_t epoch = this_pcpu()->tlb.epoch;

	cr_assert_eq(do_update_va_mapping(60 << 12, 0, UVMF_INVLPG | UVMF_LOCAL), 0);
	cr_assert_eq(this_pcpu()->tlb.epoch, epoch);
	cr_assert_eq(do_update_va_mapping(60 << 12, 0, UVMF_TLB_FLUSH | UVMF_LOCAL), 0);
	cr_assert_eq(this_pcpu()->tlb.epoch, epoch + 1);
	cr_assert_eq(do_update_va_mapping(60 << 12, 0, UVMF_TLB_FLUSH | UVMF_ALL), 0);
	cr_assert_eq(this_pcpu()->tlb.epoch, epoch + 2);
	cr_assert_eq(do_update_va_mapping(60 << 12, 0, UVMF_TLB_FLUSH | (uint64_t)&all), 0);
	cr_assert_eq(this_pcpu()->tlb.epoch, epoch + 3);
	cr_assert_eq(do_update_va_mapping(60 << 12, 0, UVMF_TLB_FLUSH | 8), -XEN_EFAULT);
	cr_assert_eq(do_update_va_mapping_otherdomain(0, 0, 0, 99), -XEN_ESRCH);
	end();
}

Test(mm_hypercalls, mmuext)
{
	begin();
	for (unsigned g = 0; g < 32; g++)
		t_touched[g] = true;
	cr_assert_eq(ext(MMUEXT_PIN_L4_TABLE, 1, 0), -XEN_EINVAL); /* pinned already */
	cr_assert_eq(ext(MMUEXT_PIN_L1_TABLE, 3, 0), -XEN_EINVAL); /* an L3 */
	cr_assert_eq(ext(MMUEXT_PIN_L1_TABLE, T_NAMES, 0), -XEN_EINVAL);
	cr_assert_eq(ext(MMUEXT_PIN_L1_TABLE, 20, 0), -XEN_EINVAL); /* mapped writable */
	cr_assert_eq(update(AT(7, 20), entry(20, P_RO_A)), 0);
	cr_assert_eq(ext(MMUEXT_PIN_L1_TABLE, 20, 0), 0);
	t_pins[20] = t_pin_level[20] = 1;
	check_all();
	cr_assert_eq(ext(MMUEXT_UNPIN_TABLE, 20, 0), 0);
	t_pins[20] = 0;
	cr_assert_eq(ext(MMUEXT_UNPIN_TABLE, 20, 0), -XEN_EINVAL);
	cr_assert_eq(ext(MMUEXT_UNPIN_TABLE, T_NAMES, 0), -XEN_EINVAL);
	cr_assert_eq(ext(MMUEXT_NEW_BASEPTR, 20, 0), 0); /* an empty L4 is one */
	t_bases[1] = 0;
	t_bases[20] = 1;
	check_all();
	cr_assert_eq(dom->vcpu[0]->arch.kernel_root.v, PT_HW(rec_of(20)->pt).v);
	cr_assert_eq(ext(MMUEXT_NEW_BASEPTR, 3, 0), -XEN_EINVAL);
	cr_assert_eq(ext(MMUEXT_NEW_BASEPTR, 1, 0), 0);
	t_bases[1] = 1;
	t_bases[20] = 0;
	cr_assert_eq(ext(MMUEXT_NEW_USER_BASEPTR, 1, 0), 0);
	t_bases[1]++;
	check_all();
	cr_assert_eq(ext(MMUEXT_NEW_USER_BASEPTR, 0, 0), 0);
	t_bases[1]--;
	cr_assert_eq(ext(MMUEXT_TLB_FLUSH_LOCAL, 0, 0), 0);
	cr_assert_eq(ext(MMUEXT_INVLPG_LOCAL, 0x1000, 0), 0);
	cr_assert_eq(ext(MMUEXT_TLB_FLUSH_ALL, 0, 0), 0);
	cr_assert_eq(ext(MMUEXT_TLB_FLUSH_MULTI, 0, 8), -XEN_EINVAL);
	cr_assert_eq(ext(MMUEXT_FLUSH_CACHE, 0, 0), -XEN_EACCES);
	cr_assert_eq(ext(MMUEXT_SET_LDT, 0x1001, 1), -XEN_EINVAL);
	cr_assert_eq(ext(MMUEXT_SET_LDT, 0x1000, 8193), -XEN_EINVAL);
	memset((void *)guest_page(40), 0x5a, PAGE_SIZE);
	cr_assert_eq(ext(MMUEXT_COPY_PAGE, 41, 40), 0);
	cr_assert_eq(memcmp((void *)guest_page(40), (void *)guest_page(41), PAGE_SIZE), 0);
	cr_assert_eq(ext(MMUEXT_CLEAR_PAGE, 40, 0), 0);
	cr_assert_eq(guest_page(40)[511], 0);
	cr_assert_eq(ext(MMUEXT_CLEAR_PAGE, 1, 0), -XEN_EINVAL); /* a table */
	cr_assert_eq(ext(MMUEXT_COPY_PAGE, 40, T_NAMES), -XEN_EINVAL);
	cr_assert_eq(ext(MMUEXT_MARK_SUPER, 0, 0), -XEN_EOPNOTSUPP);
	cr_assert_eq(ext(99, 0, 0), -XEN_ENOSYS);
	end();
}

Test(mm_hypercalls, memory_op)
{
	uint64_t list[4] = {100, 101, 102, T_NAMES};
	struct xen_memory_reservation r = {.nr_extents = 4, .domid = DOMID_SELF};
	struct xen_memory_domain self = {DOMID_SELF};
	struct xen_machphys_mapping map;

	begin();
	for (unsigned g = 90; g < 110; g++)
		t_touched[g] = true;
	r.extent_start.p = list;
	cr_assert_eq(do_memory_op(XENMEM_current_reservation, (uint64_t)&self), T_NAMES);
	cr_assert_eq(do_memory_op(XENMEM_decrease_reservation, (uint64_t)&r), 3);
	cr_assert_eq(do_memory_op(XENMEM_current_reservation, (uint64_t)&self), T_NAMES - 3);
	check_all();
	/* The guest's entry still names it: no frame, no mapping, the guest's own fault. */
	uint32_t ec;

	cr_assert_eq(mm_fault(mm, arch_root(&current_vcpu()->arch), 100 << 12, 6, true, &ec),
		     MM_FAULT_GUEST);
	/* Continued from extent 1. */
	cr_assert_eq(do_memory_op(XENMEM_populate_physmap | 1 << 6, (uint64_t)&r), 3);
	cr_assert_eq(list[1], 101);
	cr_assert(!backed(100) && backed(101) && backed(102));
	cr_assert_eq(guest_page(101)[0], 0);
	cr_assert_eq(mm_fault(mm, arch_root(&current_vcpu()->arch), 101 << 12, 6, true, &ec),
		     MM_FAULT_RETRY);
	list[0] = 1;
	cr_assert_eq(do_memory_op(XENMEM_decrease_reservation, (uint64_t)&r), 0); /* a table */
	r.nr_extents = 1;
	cr_assert_eq(do_memory_op(XENMEM_increase_reservation, (uint64_t)&r), 1);
	cr_assert_eq(list[0], 100);
	cr_assert_eq(do_memory_op(XENMEM_increase_reservation, (uint64_t)&r), 0);
	r.domid = 9;
	cr_assert_eq(do_memory_op(XENMEM_increase_reservation, (uint64_t)&r), 0);
	cr_assert_eq(do_memory_op(XENMEM_maximum_reservation, (uint64_t)&self), T_NAMES);
	cr_assert_eq(do_memory_op(XENMEM_exchange, (uint64_t)&r), -XEN_ENOSYS);
	cr_assert_eq(do_memory_op(XENMEM_machine_memory_map, (uint64_t)&r), -XEN_EPERM);
	cr_assert_eq(mm_m2p_init(1000), 0);
	free_at_start -= mm_m2p_frames();
	cr_assert_eq(do_memory_op(XENMEM_machphys_mapping, (uint64_t)&map), 0);
	cr_assert_eq(map.v_start, 0xffff800000000000UL);
	cr_assert_eq(map.v_end - map.v_start, 2 * PAGE_SIZE);
	cr_assert_eq(map.max_mfn, 1023);
	cr_assert_eq(((uint64_t *)arch_mfn_to_virt(mm_m2p_first()))[777], 777);
	cr_assert_eq(do_memory_op(XENMEM_machphys_mapping, 8), -XEN_EFAULT);

	struct {
		uint64_t addr, size;
		uint32_t type;
	} __attribute__((packed)) e = {0};
	struct xen_memory_map mmap = {.nr_entries = 8};

	mmap.buffer.p = &e;
	cr_assert_eq(do_memory_op(XENMEM_memory_map, (uint64_t)&mmap), 0);
	cr_assert(mmap.nr_entries == 1 && e.addr == 0 && e.size == T_NAMES << 12 && e.type == 1);
	end();
}

/* A table of 512 others is built and torn down in pieces; the pages stay tables in between. */
Test(mm_hypercalls, preempted_pin_and_unpin)
{
	unsigned calls = 0;
	int rc;

	begin();
	for (unsigned i = 0; i < 40; i++) {
		guest_page(8)[i * 12] = entry(100 + i, P_TABLE);
		cr_assert_eq(update(AT(7, 100 + i), entry(100 + i, P_RO_A)), 0);
		t_touched[100 + i] = true;
		memset((void *)guest_page(100 + i), 0, PAGE_SIZE);
	}
	do {
		this_pcpu()->work |= WORK_RESCHED;
		rc = mm_pin(mm, GFN(8), 2);
		calls++;
		cr_assert_lt(calls, 100);
	} while (rc == MM_PREEMPTED);
	cr_assert_eq(rc, 0);
	cr_assert_gt(calls, 20);
	t_pins[8] = 1;
	t_pin_level[8] = 2;
	this_pcpu()->work = 0;
	check_all();
	cr_assert_eq(mm_unpin(mm, GFN(8)), 0);
	t_pins[8] = 0;
	for (calls = 0; this_pcpu()->work |= WORK_RESCHED, mm_reap(mm); calls++)
		cr_assert_lt(calls, 100);
	cr_assert_gt(calls, 20);
	check_all();

	/* Given up half way: the domain's end finds what the vCPU left. */
	cr_assert_eq(mm_pin(mm, GFN(8), 2), MM_PREEMPTED);
	this_pcpu()->work = 0;
	arch_context_switch(dom->vcpu[0], NULL);
	domain_done();
}

Test(mm_hypercalls, names)
{
	mfn_t m, p;
	gfn_t s;

	begin();
	s = mm_special_name(mm);
	cr_assert_geq(s.v, T_NAMES);
	m = page_alloc(PAGE_ALLOC_ZERO);
	cr_assert_eq(mm_map_special(mm, s, m), 0);
	p = page_alloc(0);
	cr_assert_eq(mm_map_special(mm, s, p), -XEN_EINVAL);
	cr_assert_eq(mm_map_special(mm, GFN(5), p), -XEN_EINVAL);
	page_free(p);
	cr_assert_eq(mm_gfn_to_mfn(mm, s).v, m.v);
	cr_assert_eq(mm_gfn_get_writable(mm, s).v, m.v);
	cr_assert_eq(mm_decrease(mm, s), -XEN_EINVAL);
	cr_assert_eq(mm_pin(mm, s, 1), -XEN_EINVAL);
	cr_assert_eq(do_update_va_mapping(60 << 12, entry(s.v, P_RW_AD), UVMF_NONE), 0);
	cr_assert_eq(pte_frame(hw_entries(pt_of(rec_of(7)))[60]), m.v);
	cr_assert_eq(do_update_va_mapping(60 << 12, 0, UVMF_NONE), 0);
	cr_assert_eq(mm_gfn_pin_special(mm, GFN(80)).v, mm_gfn_to_mfn(mm, GFN(80)).v);
	cr_assert_eq(mm_decrease(mm, GFN(80)), -XEN_EBUSY);
	cr_assert(!mfn_valid_value(mm_gfn_pin_special(mm, GFN(T_NAMES))));
	cr_assert(!mfn_valid_value(mm_gfn_get_writable(mm, GFN(1))));
	cr_assert_eq(mm_init(&(struct mm){0}, 2, 0, NULL, 0), -XEN_EINVAL);
	cr_assert_eq(mm_init(&(struct mm){0}, 2, MM_MAX_NAMES, NULL, 0), -XEN_EINVAL);
	end();
}

static unsigned depth_of(struct rmap_node *n)
{
	unsigned d = 0;

	for (unsigned i = 0; n && i < 4; i++)
		d = MAX(d, depth_of(n->child[i]));
	return n ? d + 1 : 0;
}

/* One page mapped as often as Linux maps its zero page: cost grows with the tree's depth only. */
Test(mm_hypercalls, thousands_of_mappings)
{
	const unsigned first = 20, n = 12;

	begin();
	for (unsigned t = 0; t < n; t++) {
		cr_assert_eq(update(AT(7, first + t), entry(first + t, P_RO_A)), 0);
		cr_assert_eq(pin_all(first + t, 1), 0);
		t_pins[first + t] = 1;
		t_pin_level[first + t] = 1;
		for (unsigned i = 0; i < 512; i++)
			cr_assert_eq(update(AT(first + t, i), entry(100, P_RO_A)), 0);
	}
	check_all();
	cr_assert_leq(depth_of(rec_of(100)->ovf), 10);
	cr_assert_eq(update(AT(7, 100), 0), 0);
	cr_assert_eq(mm_decrease(mm, GFN(100)), -XEN_EBUSY);
	cr_assert_eq(pin_all(100, 1), -XEN_EINVAL);
	/* Oldest first, as when a process ends. */
	for (unsigned t = 0; t < n; t++) {
		for (unsigned i = 0; i < 512; i++)
			cr_assert_eq(update(AT(first + t, i), 0), 0);
		if (t == n / 2)
			check_all();
	}
	cr_assert_null(rec_of(100)->ovf, "nodes left behind");
	cr_assert_eq(mm_decrease(mm, GFN(100)), 0);
	t_touched[100] = true;
	end();
}

/* A domain that turns all its pages into tables leaves enough for others to have theirs. */
Test(mm_hypercalls, tables_leave_memory_to_others)
{
	struct domain *greedy;
	struct mm *greedy_mm;
	uint64_t n, start, other;

	machine_memory();
	host_sim_init(1);
	start = frames_free_count();
	domain_make(12000, 1);
	cr_assert_eq(mm_populate(mm, GFN(0), 12000), 12000);
	for (n = 0; n < 12000 && !pin_all(n, 1); n++)
		;
	cr_assert_eq(pin_all(n, 1), -XEN_ENOMEM);
	cr_assert_gt(n, 12000 / 8 + 1024);
	cr_assert_geq(frames_free_count(), frames_total() / 16 - 1);
	greedy = dom;
	greedy_mm = mm;

	domain_make(T_NAMES, 1);
	cr_assert_eq(mm_populate(mm, GFN(0), T_NAMES), T_NAMES);
	for (other = 0; other < 500; other++)
		cr_assert_eq(pin_all(other, 1), 0);
	domain_done();

	dom = greedy;
	mm = greedy_mm;
	free_at_start = start;
	domain_done();
}
