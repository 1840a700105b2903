/* SPDX-License-Identifier: MIT */
/* From the first C instruction to the scheduling loop, on the BSP and on every AP. */
#include <arch/x86.h>

#include "core/arch.h"
#include "core/config.h"
#include "core/lib.h"
#include "core/run.h"
#include "core/x86/acpi.h"
#include "core/x86/apic.h"
#include "core/x86/fpu.h"
#include "core/x86/gdt.h"
#include "core/x86/multiboot.h"
#include "core/x86/paging.h"
#include "core/x86/segbase.h"
#include "core/x86/serial.h"
#include "core/x86/smp.h"
#include "core/x86/tsc.h"
#include "memsvc/swap.h"
#include "percpu/log.h"

extern char boot_stack64[];
NORETURN void x86_on_stack(void *sp, void (*fn)(void));
void x86_start(uint32_t magic, uint64_t mbi);

static struct boot_info boot;
static struct pcpu bsp;
static bool early = true; /* the frame allocator has no memory yet */

static mfn_t early_frame(void)
{
	mfn_t m = early ? MFN(multiboot_take(&boot, PAGE_SIZE) >> PAGE_SHIFT)
			: page_alloc(PAGE_ALLOC_ZERO);

	if (!mfn_valid_value(m))
		panic("out of memory for the hypervisor's page tables");
	if (early)
		memset(arch_mfn_to_virt(m), 0, PAGE_SIZE);
	return m;
}

static void give_memory(void)
{
	struct mem_range r[BOOT_MAX_RANGES];

	for (unsigned i = 0; i < boot.nr_free; i++)
		r[i] = (struct mem_range){boot.free[i].start,
					  boot.free[i].end - boot.free[i].start};
	if (frames_init(r, boot.nr_free))
		panic("not enough memory: none is left after the boot modules");
	early = false;
}

static void cpu_init(struct pcpu *p)
{
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE | EFER_NXE);
	gdt_load(p);
	fpu_init();
	segbase_init();
}

struct pcpu *pcpu_alloc(unsigned id, uint32_t apic_id)
{
	uint64_t n = DIV_ROUND_UP(sizeof(struct pcpu), PAGE_SIZE);
	mfn_t first = frames_alloc_contig(n);
	struct pcpu *p;

	if (!mfn_valid_value(first))
		return NULL;
	p = arch_mfn_to_virt(first);
	memset(p, 0, n * PAGE_SIZE);
	p->arch.apic_id = apic_id;
	pcpu_init(p, id);
	gdt_prepare(p);
	return p;
}

void *pcpu_stack_top(unsigned id)
{
	struct cpu_info *info = (struct cpu_info *)pcpu_get(id)->arch.stack_top - 1;

	return (void *)((uint64_t)info & ~15UL);
}

void ap_main(unsigned id)
{
	struct pcpu *p = pcpu_get(id);

	p->arch.apic_id = smp_apic_id[id];
	rcu_thread_online();
	cpu_init(p);
	tsc_init_cpu();
	pcpu_online();
	smp_set_online();
	run_loop();
}

/* Boot word panic=test: fault on purpose on the last pCPU, to see what a crash looks like. */
static void panic_test(struct inbox_msg *msg)
{
	(void)msg;
	*(volatile uint32_t *)WINDOWS_END = 0;
}

static void bsp_main(void)
{
	static struct inbox_msg crash = {.fn = panic_test};

	char opt[16];
	unsigned max = 0, n;

	if (boot_option(&boot, "maxcpus", opt, sizeof(opt)))
		for (const char *s = opt; *s >= '0' && *s <= '9'; s++)
			max = max * 10 + (*s - '0');
	rcu_thread_online();
	cpu_init(&bsp);
	n = smp_boot_all(max);
	tsc_init();
	tsc_init_cpu();
	pcpu_online();
	printk("online %u pcpus", n);
	record_printf("{\"ev\":\"boot\",\"pcpus\":%u,\"t_ns\":%lu}", n,
		      (unsigned long)arch_now_ns());
	log_flush(); /* before the guests are built, which takes this pCPU a while */
	if (swap_init())
		printk("swap: not enough memory for its tables");
	if (boot_option(&boot, "panic", opt, sizeof(opt)) && !strcmp(opt, "test"))
		inbox_post(n - 1, &crash);
	domains_boot(boot.mods, boot.nr_mods);
	run_loop();
}

void x86_start(uint32_t magic, uint64_t mbi)
{
	struct cpu_info *info = (struct cpu_info *)(boot_stack64 + STACK_SIZE) - 1;

	info->pcpu = &bsp;
	info->sites = contention_offset(&bsp.contention);
	serial_init();
	early_puts("[   0.000000] xylem| entry\n");
	multiboot_read(&boot, magic, mbi);
	paging_init(boot.ram_top, early_frame);
	acpi_init();
	give_memory();
	pcpu_init(&bsp, 0);
	gdt_prepare(&bsp);
	apic_init();
	tsc_init_begin();
	smp_init_bsp();
	bsp.arch.apic_id = smp_apic_id[0];
	if (mm_m2p_init(MIN(MM_MAX_NAMES, frames_total() + MM_SPECIAL_NAMES)))
		panic("not enough memory for the machine-to-phys table");
	paging_map_m2p(mm_m2p_first(), mm_m2p_frames() * PAGE_SIZE);
	x86_on_stack(pcpu_stack_top(0), bsp_main);
}
