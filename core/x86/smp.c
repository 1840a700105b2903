/* SPDX-License-Identifier: MIT */
#include "core/x86/smp.h"

#include <arch/cpu.h>
#include <arch/mem.h>

#include "core/arch.h"
#include "core/lib.h"
#include "core/x86/acpi.h"
#include "core/x86/apic.h"
#include "core/x86/paging.h"
#include "core/x86/tsc.h"
#include "percpu/log.h"

/* A CPU that has not come this long after the last one that did is taken for broken. */
#define ARRIVAL_TIMEOUT_NS (2 * NS_PER_SEC)
/* When to repeat the SIPI. A CPU already running ignores it. */
#define SIPI_REPEAT_NS (5 * NS_PER_MS)
#define POLL_NS NS_PER_MS

extern const char smp_trampoline[], smp_trampoline_end[];
extern const char smp_tramp_cr0[], smp_tramp_cr3[], smp_tramp_cr4[], smp_tramp_efer[];

/*
 * Tickets: the next pCPU number, taken by APs with one locked add. A ticket at or above the limit
 * parks its AP for ever. Plain words for the trampoline, which uses them by name.
 */
_Atomic uint32_t smp_ticket = 1;
_Atomic uint32_t smp_limit;
void *smp_stack_top[MAX_PCPUS];
uint32_t smp_apic_id[MAX_PCPUS];

static _Atomic unsigned online = 1;

NORETURN void smp_ap_entry(unsigned id);

void smp_init_bsp(void)
{
	smp_apic_id[0] = apic_id();
}

void smp_set_online(void)
{
	/* PAIRS: smp_online - what this AP wrote in coming up is seen by who counts it. */
	unsigned n = 1 + atomic_fetch_add_explicit(&online, 1, memory_order_acq_rel);

	if (n == atomic_load_explicit(&smp_limit, memory_order_relaxed))
		arch_kick(0);
}

unsigned smp_online_count(void)
{
	/* PAIRS: smp_online */
	return atomic_load_explicit(&online, memory_order_acquire);
}

NORETURN void smp_ap_entry(unsigned id)
{
	apic_init_cpu();
	smp_apic_id[id] = apic_id();
	ap_main(id);
}

static bool init_delay(void)
{
	uint32_t r[4];
	char vendor[12];

	cpuid_raw(0, 0, r);
	memcpy(vendor, &r[1], 4);
	memcpy(vendor + 4, &r[3], 4);
	memcpy(vendor + 8, &r[2], 4);
	cpuid_raw(1, 0, r);
	return smp_needs_init_delay(vendor, r[0], r[2]);
}

static void set_word(char *page, const char *label, uint32_t val)
{
	memcpy(page + (label - smp_trampoline), &val, sizeof(val));
}

static void install_trampoline(void)
{
	char *page = arch_mfn_to_virt(MFN(SMP_TRAMPOLINE_PHYS >> PAGE_SHIFT));

	memcpy(page, smp_trampoline, (size_t)(smp_trampoline_end - smp_trampoline));
	set_word(page, smp_tramp_cr0, (uint32_t)(read_cr0() & ~X86_CR0_TS));
	set_word(page, smp_tramp_cr3, (uint32_t)hyp_cr3);
	set_word(page, smp_tramp_cr4, (uint32_t)read_cr4());
	set_word(page, smp_tramp_efer, (uint32_t)(rdmsr(MSR_EFER) & ~(uint64_t)EFER_LMA));
}

/* One start-up message to all others, or to the first @want of the firmware's list. */
static void each(unsigned want, void (*all)(void), void (*one)(uint32_t))
{
	if (want + 1 >= acpi.cpu_count) {
		all();
		return;
	}
	for (unsigned i = 0, sent = 0; sent < want; i++) {
		if (acpi.apic_id[i] == smp_apic_id[0])
			continue;
		one(acpi.apic_id[i]);
		sent++;
	}
}

static void sipi_all(void)
{
	apic_send_sipi_all(SMP_TRAMPOLINE_PHYS >> PAGE_SHIFT);
}

static void sipi_one(uint32_t dest)
{
	apic_send_sipi(dest, SMP_TRAMPOLINE_PHYS >> PAGE_SHIFT);
}

static unsigned arrived(void)
{
	return MIN(atomic_load_explicit(&smp_ticket, memory_order_relaxed),
		   atomic_load_explicit(&smp_limit, memory_order_relaxed));
}

/*
 * Wait until all @total are online, or until no more can be expected. Returns how many are. This
 * CPU halts meanwhile, in case the others share a real one with it; the last to come kicks it.
 */
static unsigned wait_online(unsigned total)
{
	uint64_t last = arch_now_ns(), repeat = last + SIPI_REPEAT_NS;
	unsigned seen = 1, n;

	while ((n = smp_online_count()) < total) {
		uint64_t now = arch_now_ns();

		if (arrived() + n != seen) {
			seen = arrived() + n;
			last = now;
		} else if (now - last > ARRIVAL_TIMEOUT_NS) {
			break;
		}
		if (now > repeat && arrived() < total) {
			each(total - 1, sipi_all, sipi_one);
			repeat = TIME_NEVER;
		}
		arch_set_deadline(now + POLL_NS);
		arch_idle();
	}
	arch_set_deadline(TIME_NEVER);
	return n;
}

unsigned smp_boot_all(unsigned max)
{
	unsigned total = max ? MIN(max, acpi.cpu_count) : acpi.cpu_count;

	if (acpi.cpus_dropped)
		printk("smp: %u CPUs beyond the first %u are not used\n", acpi.cpus_dropped,
		       acpi.cpu_count);
	for (unsigned id = 1; id < total; id++) {
		if (!pcpu_alloc(id, acpi.apic_id[id]))
			panic("no memory for pCPU %u", id);
		smp_stack_top[id] = pcpu_stack_top(id);
	}
	tsc_init(); /* not while the others run: they would disturb it, or wait for it */
	tsc_init_cpu();
	if (total <= 1)
		return 1;

	install_trampoline();
	/* PAIRS: smp_start - the INIT and SIPI follow in program order, the APs see all above. */
	atomic_store_explicit(&smp_limit, total, memory_order_seq_cst);

	each(total - 1, apic_send_init_all, apic_send_init);
	if (init_delay())
		udelay(10000);
	each(total - 1, sipi_all, sipi_one);

	unsigned n = wait_online(total);
	if (n < total) {
		/* Close the door: a CPU that wakes up later parks itself. */
		unsigned got = atomic_exchange(&smp_limit, 0), took = atomic_load(&smp_ticket);

		took = MIN(took, got);
		if (took != n)
			panic("%u CPUs started but only %u came online", took, n);
		printk("smp: %u of %u CPUs did not start\n", total - n, total);
	}
	return n;
}
