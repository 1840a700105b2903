/* SPDX-License-Identifier: MIT */
/*
 * Domains in the host simulation: one thread plays all pCPUs; a vCPU that is current "runs" when
 * the test issues hypercalls in its name. Each Criterion test is a process of its own.
 */
#ifndef TESTS_DOM_SIM_H
#define TESTS_DOM_SIM_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/builder.h"
#include "core/domain.h"
#include "core/host/host.h"
#include "core/run.h"
#include "core/stats.h"
#include "memsvc/frame.h"
#include "percpu/log.h"
#include "percpu/tlb.h"

#include <elf.h>
#include <xen/elfnote.h>

#define SIM_STEP_NS (20 * NS_PER_US)
#define SIM_KERNEL_VA 0xffffffff80000000ULL
#define SIM_KERNEL_TEXT 0x3000

static char sim_log[1 << 20], sim_records[1 << 20];

static inline void sim_init(unsigned cpus, uint64_t frames)
{
	struct mem_range r = {HOST_FIRST_MFN << PAGE_SHIFT, frames << PAGE_SHIFT};

	host_arena_init(frames);
	cr_assert_eq(frames_init(&r, 1), 0);
	host_sim_init(cpus);
	host_console_capture(0, sim_log, sizeof(sim_log));
	host_console_capture(1, sim_records, sizeof(sim_records));
	host_clock_set(NS_PER_SEC);
	domains_init();
}

/* What a pCPU does between guests, without waiting for an interrupt. */
static inline void sim_exit_path(unsigned cpu)
{
	struct pcpu *p;

	host_become(cpu);
	p = this_pcpu();
	p->work |= WORK_RESCHED;
	run_pending(p);
	rcu_quiescent_state();
	tlb_retire_poll();
	rcu_poll();
	rcu_quiescent_state();
	if (!p->current)
		tlb_retire_drain();
}

static inline void sim_pump(unsigned rounds)
{
	while (rounds--) {
		for (unsigned i = 0; i < nr_pcpus(); i++)
			sim_exit_path(i);
		host_clock_advance(SIM_STEP_NS);
	}
	host_become(0);
}

/* Until no domain is left. */
static inline void sim_wait_gone(void)
{
	for (unsigned i = 0; i < 200000 && domain_live_count(); i++)
		sim_pump(1);
	cr_assert_eq(domain_live_count(), 0, "domains are left");
}

/* The pCPU on which @v is current, or -1. */
static inline int sim_cpu_of(const struct vcpu *v)
{
	for (unsigned i = 0; i < nr_pcpus(); i++)
		if (pcpu_get(i)->current == v)
			return (int)i;
	return -1;
}

/* Pump until @v is current, then become its pCPU. */
static inline void sim_run_until(const struct vcpu *v)
{
	for (unsigned i = 0; i < 5000 && sim_cpu_of(v) < 0; i++)
		sim_pump(1);
	cr_assert(sim_cpu_of(v) >= 0, "vCPU %u does not run", v->id);
	host_become((unsigned)sim_cpu_of(v));
}

static inline long sim_dispatch(unsigned nr, const uint64_t args[6])
{
	long result;

	return hypercall_dispatch(nr, args, &result) ? result : -HC_CONTINUE;
}

static inline long sim_hc(unsigned nr, uint64_t a, uint64_t b, uint64_t c)
{
	const uint64_t args[6] = {a, b, c};

	return sim_dispatch(nr, args);
}

/* @step as each vCPU that is current and may go on; then pCPU 0 again. */
static inline void sim_play(void (*step)(struct vcpu *v))
{
	for (unsigned i = 0; i < nr_pcpus(); i++) {
		struct vcpu *v = pcpu_get(i)->current;

		if (!v || vcpu_must_stop(v))
			continue;
		host_become(i);
		step(v);
	}
	host_become(0);
}

/* A domain without memory, running. */
static inline struct domain *sim_domain(unsigned vcpus)
{
	struct domain_params p = {.name = "guest", .kind = "test", .vcpus = vcpus, .nr_pages = 64};
	struct domain *d;

	cr_assert_eq(domain_create(&d, &p), 0);
	cr_assert_eq(mm_populate(&d->mm, GFN(0), 64), 64);
	domain_start(d);
	sim_run_until(d->vcpu[0]);
	return d;
}

/* ---- boot modules ---- */

static inline struct boot_module sim_module(const char *id, const void *data, size_t size)
{
	struct boot_module m = {.size = size};
	mfn_t mfn = frames_alloc_contig(DIV_ROUND_UP(size, PAGE_SIZE));

	strncpy(m.id, id, sizeof(m.id) - 1);
	m.start = mfn.v << PAGE_SHIFT;
	memcpy(arch_mfn_to_virt(mfn), data, size);
	return m;
}

static inline uint8_t *sim_note(uint8_t *p, uint32_t type, uint64_t v)
{
	Elf64_Nhdr n = {.n_namesz = 4, .n_descsz = 8, .n_type = type};

	memcpy(p, &n, sizeof(n));
	memcpy(p + sizeof(n), "Xen", 4);
	memcpy(p + sizeof(n) + 4, &v, 8);
	return p + sizeof(n) + 12;
}

/* A PV kernel at 1 MiB whose bytes say where they are; page 2 of it is the hypercall page. */
static inline struct boot_module sim_kernel(const char *id, bool like_linux)
{
	static uint8_t im[0x1000 + SIM_KERNEL_TEXT];
	Elf64_Ehdr *e = (Elf64_Ehdr *)im;
	Elf64_Phdr *ph = (Elf64_Phdr *)(e + 1);
	uint8_t *notes = im + 0x400, *end = notes;

	memset(im, 0, sizeof(im));
	memcpy(e->e_ident, ELFMAG, SELFMAG);
	e->e_ident[EI_CLASS] = ELFCLASS64;
	e->e_ident[EI_DATA] = ELFDATA2LSB;
	e->e_type = ET_EXEC;
	e->e_machine = EM_X86_64;
	e->e_phoff = sizeof(*e);
	e->e_phentsize = sizeof(*ph);
	e->e_phnum = 2;
	end = sim_note(end, XEN_ELFNOTE_VIRT_BASE, SIM_KERNEL_VA);
	end = sim_note(end, XEN_ELFNOTE_ENTRY, SIM_KERNEL_VA + 0x100020);
	end = sim_note(end, XEN_ELFNOTE_HYPERCALL_PAGE, SIM_KERNEL_VA + 0x102000);
	if (like_linux) {
		end = sim_note(end, XEN_ELFNOTE_INIT_P2M, 0x8000000000);
		end = sim_note(end, XEN_ELFNOTE_MOD_START_PFN, 1);
	}
	ph[0] = (Elf64_Phdr){.p_type = PT_LOAD,
			     .p_offset = 0x1000,
			     .p_paddr = 0x100000,
			     .p_filesz = SIM_KERNEL_TEXT,
			     .p_memsz = SIM_KERNEL_TEXT + 0x1800};
	ph[1] = (Elf64_Phdr){
		.p_type = PT_NOTE, .p_offset = 0x400, .p_filesz = (uint64_t)(end - notes)};
	for (unsigned i = 0; i < SIM_KERNEL_TEXT; i += 4)
		memcpy(im + 0x1000 + i, &i, 4);
	return sim_module(id, im, sizeof(im));
}

#endif
