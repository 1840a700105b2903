/* SPDX-License-Identifier: MIT */
/* Broken return frames, descriptors of other rings, and too much of everything. */
#include "roles/evil.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include "rt/mem.h"
#include "rt/proc.h"
#include "rt/role.h"
#include "rt/smp.h"
#include "rt/time.h"
#include "rt/trap.h"
#include "user/user.h"

static uint64_t pick(const uint64_t *list, unsigned int n)
{
	/* The good value often enough that one bad field meets good others. */
	switch (rnd() % 4) {
	case 0:
		return rnd();
	case 1:
		return list[rnd() % n];
	default:
		return list[0];
	}
}

void user_leave(void) __attribute__((noreturn));

/* Whatever the bad return led to, in kernel mode as well, ends the attempt. */
static bool badiret_hook(struct regs *r)
{
	if (!this_cpu()->proc)
		return false;
	this_cpu()->proc->regs = *r;
	user_leave();
}

void evil_badiret(void)
{
	static const uint64_t cs[] = {FLAT_USER_CS, FLAT_USER_CS32, 0,	    3,	   8,
				      0xe008,	    0xe00b,	    0x23,   0x33,  7,
				      0xffff,	    FLAT_USER_SS,   0xe040, 0xe043};
	static const uint64_t ss[] = {FLAT_USER_SS, 0,	    3,	   0x10, 0xe010, 0xe013, 0x2b, 7,
				      FLAT_USER_CS, 0xffff, 0xe040};
	static const uint64_t rip[] = {USER_TEXT,
				       0,
				       0x8000000000000000UL,
				       0x7fffffffffff,
				       0x800000000000,
				       0xffff82d040200000UL,
				       KERNEL_BASE,
				       ~0UL};
	static const uint64_t fl[] = {0x202,   0x2,   0x3202, 0x4202, 0x20202, 0x10202,
				      0x80202, 0x302, ~0UL,   0,      0x40202, 0x200202};
	static const uint64_t sp[] = {USER_STACK - 64, 0, 0x8000000000000000UL, ~0UL};
	struct proc *p = proc_create(USER_ECHO, 0);
	struct regs good = p->regs;
	unsigned long n = arg_num("iters", 2000), traps = 0, calls = 0;

	trap_hook = badiret_hook;
	for (unsigned long i = 0; i < n; i++) {
		p->regs = good;
		p->regs.cs = pick(cs, ARRAY_LEN(cs)) | 3; /* else: the guest kernel's own mode */
		p->regs.ss = pick(ss, ARRAY_LEN(ss));
		p->regs.rip = pick(rip, ARRAY_LEN(rip));
		p->regs.rflags = pick(fl, ARRAY_LEN(fl));
		p->regs.rsp = pick(sp, ARRAY_LEN(sp));
		if (proc_run(p) == TRAP_SYSCALL)
			calls++;
		else
			traps++;
	}
	p->regs = good;
	CHECK_EQ(proc_run(p), TRAP_SYSCALL, "a good return after the bad ones");
	trap_hook = NULL;
	proc_destroy(p);
	printf("mini: evil badiret traps=%lu calls=%lu\n", traps, calls);
}

static long set_gdt(xen_pfn_t *frames, unsigned int entries)
{
	return HC2(set_gdt, frames, entries);
}

/* Through a gate or to a code segment: none may lead to another ring. */
static void far_call(void *arg)
{
	struct {
		uint64_t offset;
		uint16_t sel;
	} __attribute__((packed)) target = {0, (uint16_t)(unsigned long)arg};

	__asm__ volatile("rex.W lcall *%0" ::"m"(target) : "memory");
}

static unsigned long load_fs(unsigned int sel)
{
	return PROBE("movw %w1, %%fs", "r"(sel));
}

void evil_badgdt(void)
{
	/* Ring-0 code and data, call and interrupt gates, TSS, LDT, conforming code. */
	static const uint64_t bad[] = {0x00af9a000000ffff, 0x00cf92000000ffff, 0x0000ec00e0080000,
				       0x00008e00e0080000, 0x0000890000000067, 0x0000820000000067,
				       0x00af9e000000ffff, 0x00008c00e0080000};
	uint64_t *gdt = page_alloc(), *ldt = page_alloc();
	unsigned long n = arg_num("iters", 2000), refused = 0, loads = 0;
	xen_pfn_t frames[17] = {virt_to_mfn(gdt)};
	struct mmuext_op op = {.cmd = MMUEXT_SET_LDT};

	for (unsigned int i = 1; i < 17; i++)
		frames[i] = NO_MFN;
	CHECK(set_gdt(frames, 8192) < 0, "GDT into the hypervisor's part");
	CHECK(set_gdt(frames, 1024) < 0, "GDT of frames that are not there");
	CHECK(set_gdt((xen_pfn_t *)8, 512) < 0, "GDT from nowhere");
	for (unsigned int i = 0; i < ARRAY_LEN(bad); i++) {
		gdt[i + 1] = bad[i];
		page_make_ro(gdt);
		if (!set_gdt(frames, 512)) {
			/* Taken, so it must have been made harmless. */
			CHECK(trap_guard(far_call, (void *)(i * 8UL + 8)),
			      "called by descriptor %lx", bad[i]);
			CHECK_EQ(set_gdt(NULL, 0), 0, "drop the GDT");
		}
		page_make_rw(gdt);
		gdt[i + 1] = 0;
	}
	page_make_ro(gdt);
	CHECK_EQ(set_gdt(frames, 512), 0, "an empty GDT");
	for (unsigned long i = 0; i < n; i++) {
		unsigned int idx = (unsigned int)(rnd() % 512);
		uint64_t d = i < ARRAY_LEN(bad) ? bad[i] : rnd() & rnd();

		refused +=
			HC2(update_descriptor, (virt_to_mfn(gdt) << PAGE_SHIFT) + idx * 8, d) < 0;
		loads += !load_fs(idx * 8 + (rnd() & 3));
		load_fs(0);
		CHECK(trap_guard(far_call, (void *)(idx * 8UL | (rnd() & 3))),
		      "called by a descriptor from %lx", d);
	}
	CHECK(HC2(update_descriptor, NO_MFN << PAGE_SHIFT, 0) < 0, "descriptor nowhere");
	CHECK_EQ(set_gdt(NULL, 0), 0, "drop the GDT");
	/* An LDT of garbage, looked at when a selector is loaded. */
	for (unsigned int i = 0; i < 512; i++)
		ldt[i] = i < ARRAY_LEN(bad) ? bad[i] : rnd() & rnd();
	page_make_ro(ldt);
	op.arg1.linear_addr = (unsigned long)ldt;
	op.arg2.nr_ents = 512;
	if (!hc_mmuext(&op, 1, NULL))
		for (unsigned int i = 0; i < 512; i++)
			loads += !load_fs(i * 8 + 4 + (unsigned int)(rnd() & 3));
	load_fs(0);
	op.arg1.linear_addr = HYPERVISOR_VIRT_START;
	CHECK(hc_mmuext(&op, 1, NULL) < 0 || load_fs(7), "LDT in the hypervisor");
	op.arg2.nr_ents = 100000;
	CHECK(hc_mmuext(&op, 1, NULL) < 0, "LDT too long");
	op.arg1.linear_addr = 0;
	op.arg2.nr_ents = 0;
	CHECK_EQ(hc_mmuext(&op, 1, NULL), 0, "no LDT");
	page_make_rw(ldt);
	page_make_rw(gdt);
	printf("mini: evil badgdt refused=%lu loads=%lu\n", refused, loads);
	CHECK(refused, "no descriptor was refused");
}

static uint64_t *race_gdt;
static uint64_t race_end;

/* Even vCPUs install and drop the table, odd ones change a descriptor in its frame. */
static void gdt_racer(void *arg)
{
	unsigned int id = this_cpu()->id;
	uint64_t maddr = virt_to_mfn(race_gdt) << PAGE_SHIFT;
	xen_pfn_t frame = virt_to_mfn(race_gdt);

	(void)arg;
	for (unsigned int i = 0; time_ns() < race_end; i++) {
		if (id & 1) {
			CHECK_EQ(HC2(update_descriptor, maddr + i % 512 * 8, 0x00cff2000000ffff), 0,
				 "update_descriptor");
		} else {
			CHECK_EQ(set_gdt(&frame, 512), 0, "set_gdt");
			CHECK_EQ(set_gdt(NULL, 0), 0, "drop the GDT");
		}
	}
}

void evil_gdtrace(void)
{
	race_gdt = page_alloc();
	page_make_ro(race_gdt);
	smp_up_all();
	CHECK(nr_cpus > 1, "one vcpu only");
	race_end = time_ns() + arg_num("secs", 2) * 1000000000UL;
	smp_call_all(gdt_racer, NULL);
	page_make_rw(race_gdt);
}

void evil_oom(void)
{
	unsigned long n = 512, got = 0;
	xen_pfn_t *list = page_alloc();
	struct xen_memory_reservation r = {.domid = DOMID_SELF};
	long port, rc;

	set_xen_guest_handle(r.extent_start, list);
	for (int round = 0; round < 64; round++) {
		for (unsigned long i = 0; i < n; i++)
			list[i] = nr_pages + (unsigned long)round * n + i;
		r.nr_extents = n;
		r.extent_order = 0;
		rc = hc_memory(round & 1 ? XENMEM_increase_reservation : XENMEM_populate_physmap,
			       &r);
		if (rc <= 0)
			break;
		got += (unsigned long)rc;
	}
	r.nr_extents = ~0UL >> 8;
	CHECK(hc_memory(XENMEM_populate_physmap, &r) <= 0, "populate of everything");
	r.nr_extents = 1;
	for (unsigned int order = 1; order < 64; order++) {
		list[0] = 0;
		r.extent_order = order;
		rc = hc_memory(XENMEM_populate_physmap, &r);
		CHECK(rc <= 0, "populate of order %u", order);
	}
	printf("mini: evil oom pages_gained=%lu\n", got);
	for (n = 0; n < arg_num("ports", 5000); n++) {
		port = event_bind_ipi(0);
		if (port < 0)
			break;
	}
	printf("mini: evil oom ports=%lu\n", n);
	CHECK(port < 0 || events_fifo, "more ports than the 2-level ABI has");
}
