/* SPDX-License-Identifier: MIT */
/* A quick look at memory, time and events, then power-off. */
#include "roles/roles.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include "rt/mem.h"
#include "rt/role.h"
#include "rt/time.h"
#include <stdatomic.h>

static void count_event(uint32_t port, void *arg)
{
	(void)port;
	atomic_fetch_add((_Atomic unsigned int *)arg, 1);
}

static void check_memory(void)
{
	uint64_t *page = page_alloc();

	for (unsigned int i = 0; i < 512; i++)
		page[i] = i * 0x9e3779b97f4a7c15ULL;
	pt_map(kernel_l4, TEST_BASE, MK_PTE(virt_to_mfn(page), PTE_KERN_RO));
	CHECK(!memcmp((void *)TEST_BASE, page, PAGE_SIZE), "second mapping differs");
	CHECK_EQ(hc_update_va(TEST_BASE, 0, UVMF_INVLPG), 0, "unmap");
	page_free(page);
	CHECK_EQ(mfn_to_pfn(virt_to_mfn(page)), virt_to_pfn(page), "m2p of p2m");
}

static void check_event(void)
{
	_Atomic unsigned int got = 0;
	long port = event_bind_ipi(0);

	CHECK(port > 0, "bind_ipi: %ld", port);
	event_handle((uint32_t)port, count_event, &got);
	event_unmask((uint32_t)port);
	CHECK_EQ(event_send((uint32_t)port), 0, "send");
	CHECK_EQ(got, 1, "events delivered");
	CHECK_EQ(event_close((uint32_t)port), 0, "close");
}

void role_hello(void)
{
	uint64_t t0 = time_ns(), t1;
	long v = hc_version(XENVER_version, NULL);

	printf("mini: hello, hypervisor version %ld.%ld, %lu pages, %u vcpus\n", v >> 16,
	       v & 0xffff, nr_pages, nr_cpus);
	check_memory();
	check_event();
	sleep_until(t0 + 1000000);
	t1 = time_ns();
	CHECK(t1 >= t0 + 1000000, "slept %ld ns only", t1 - t0);
	role_pass("slept_ns=%lu", t1 - t0);
}
