/* SPDX-License-Identifier: MIT */
/* Start of day: bring the runtime up in order, then run the role. */
#include "rt/balloon.h"
#include "rt/cpu.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include "rt/mem.h"
#include "rt/role.h"
#include "rt/smp.h"
#include "rt/time.h"
#include "rt/trap.h"
#include <xen/io/console.h>

/* Image pages whose mapping is replaced by frames that have no pfn of ours. */
static uint8_t shared_info_slot[PAGE_SIZE] __attribute__((aligned(4096)));
static uint8_t console_slot[PAGE_SIZE] __attribute__((aligned(4096)));

static void *map_foreign(void *slot, unsigned long mfn)
{
	long rc = hc_update_va((unsigned long)slot, MK_PTE(mfn, PTE_KERN | PTE_NX), UVMF_INVLPG);

	return rc ? NULL : slot;
}

static void find_console(struct start_info *si)
{
	struct xencons_interface *ring;

	if (si->flags & SIF_INITDOMAIN || !si->console.domU.mfn)
		return;
	ring = map_foreign(console_slot, si->console.domU.mfn);
	if (ring)
		console_init(ring, si->console.domU.evtchn);
}

void start_of_day(struct start_info *si) __attribute__((noreturn));
void start_of_day(struct start_info *si)
{
	smp_init();
	find_console(si);
	shared_info = map_foreign(shared_info_slot, si->shared_info >> PAGE_SHIFT);
	if (!shared_info)
		panic("cannot map shared_info");
	this_cpu()->vi = &shared_info->vcpu_info[0];
	events_init();
	trap_init();
	mem_init(si);
	cmdline_init((const char *)si->cmd_line);
	hypercall_use_inline(!strcmp(arg_str("hcall", "page"), "inline"));
	role_name = arg_str("role", "hello");
	smp_register_boot();
	if (!strcmp(arg_str("evtchn", "2l"), "fifo")) {
		long rc = events_use_fifo();

		if (rc)
			panic("FIFO event channels: %ld", rc);
	}
	timer_init();
	events_unmask();
	balloon_init();

	for (const struct role *r = roles; r->name; r++)
		if (!strcmp(r->name, role_name))
			r->run(), role_fail("role returned");
	role_fail("unknown role");
}
