/* SPDX-License-Identifier: MIT */
/*
 * A guest that takes what it can of one thing, for ever, on all its vCPUs: mode=cpu spins; forks
 * makes and destroys processes; memory fills all memory it has, writes to it over and over, and asks
 * for more; events sends and binds event channels and keeps its timers firing; tables pins and
 * unpins page tables and maps and flushes.
 */
#include "roles/roles.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include "rt/mem.h"
#include "rt/proc.h"
#include "rt/role.h"
#include "rt/smp.h"
#include "rt/time.h"
#include "user/user.h"

static void hog_cpu(void)
{
	for (uint64_t x = 1;; x = x * 6364136223846793005ULL + 1)
		__asm__ volatile("" : "+r"(x));
}

/* As many at once as memory has room for, like a fork bomb whose children are cut down. */
static void hog_forks(void)
{
	struct proc *p[8];

	for (;;) {
		for (unsigned int i = 0; i < ARRAY_LEN(p); i++) {
			p[i] = proc_create(USER_ECHO, 0);
			proc_run(p[i]);
		}
		for (unsigned int i = 0; i < ARRAY_LEN(p); i++)
			proc_destroy(p[i]);
	}
}

static void ask_for_more(void)
{
	xen_pfn_t pfn[64];
	struct xen_memory_reservation r = {.domid = DOMID_SELF, .nr_extents = ARRAY_LEN(pfn)};

	for (unsigned int i = 0; i < ARRAY_LEN(pfn); i++)
		pfn[i] = nr_pages + i;
	set_xen_guest_handle(r.extent_start, pfn);
	hc_memory(XENMEM_populate_physmap, &r);
	hc_memory(XENMEM_increase_reservation, &r);
}

static void hog_memory(void)
{
	void **list = page_alloc();
	unsigned long n = 0;

	/* A list of its own in the first word of each page. */
	for (void **page; (page = page_try_alloc(32)); n++) {
		*page = *list;
		*list = page;
	}
	for (uint64_t x = 1;; x++) {
		for (void **page = *list; page; page = *page)
			((volatile uint64_t *)page)[1 + x % 500] = x;
		ask_for_more();
	}
}

static void hog_events(void)
{
	uint32_t port[8];

	for (unsigned int i = 0; i < ARRAY_LEN(port); i++) {
		port[i] = (uint32_t)event_bind_ipi((unsigned int)rnd() % nr_cpus);
		event_unmask(port[i]);
	}
	for (unsigned long n = 0;; n++) {
		event_send(port[n % ARRAY_LEN(port)]);
		if (n % 16 == 0)
			timer_arm(time_ns() + 1000, 0);
		if (n % 64 == 0) {
			long p = event_bind_ipi(this_cpu()->id);

			if (p > 0)
				event_close((uint32_t)p);
		}
	}
}

static void hog_tables(void)
{
	unsigned long va = TEST_BASE + 0x8000000 + this_cpu()->id * 0x200000UL, pfn;
	pte_t *table = pt_page_alloc();
	void *page = page_alloc();

	pfn = virt_to_pfn(table);
	for (;;) {
		mmuext_pin(1, pfn);
		mmuext_unpin(pfn);
		for (unsigned int i = 0; i < 64; i++)
			hc_update_va(va + i * PAGE_SIZE, MK_PTE(virt_to_mfn(page), PTE_KERN),
				     UVMF_TLB_FLUSH | UVMF_ALL);
		for (unsigned int i = 0; i < 64; i++)
			hc_update_va(va + i * PAGE_SIZE, 0, UVMF_TLB_FLUSH | UVMF_ALL);
	}
}

static const struct {
	const char *name;
	void (*run)(void);
} modes[] = {
	{"cpu", hog_cpu},	{"forks", hog_forks},	{"memory", hog_memory},
	{"events", hog_events}, {"tables", hog_tables},
};

static void run(void *arg)
{
	((void (*)(void))arg)();
}

void role_hog(void)
{
	const char *mode = arg_str("mode", "cpu");

	rnd_init();
	smp_up_all();
	for (unsigned int i = 0; i < nr_cpus; i++)
		pt_map(kernel_l4, TEST_BASE + 0x8000000 + i * 0x200000UL, 0);
	for (unsigned int i = 0; i < ARRAY_LEN(modes); i++)
		if (!strcmp(modes[i].name, mode)) {
			printf("mini: hog mode=%s\n", mode);
			smp_call_all(run, (void *)modes[i].run);
		}
	role_fail("unknown mode=%s", mode);
}
