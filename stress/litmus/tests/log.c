/* SPDX-License-Identifier: MIT */
/* percpu/log.h: two pCPUs write records; pCPU 0, told by a message, writes them out. */
#include "percpu/log.h"

#include <string.h>

#include "core/host/host.h"
#include "percpu/pcpu.h"
#include "stress/litmus/litmus.h"

static char out[256];
static uint64_t later;

static void setup(void)
{
	host_sim_init(2);
	host_console_capture(1, out, sizeof(out));
	later = LOG_DRAIN_NS * 4;
}

static void thread(unsigned me)
{
	struct pcpu *p = this_pcpu();

	if (me) {
		record_printf("a");
		record_printf("b");
		return;
	}
	while (host_console_len(1) < 4) {
		if (!inbox_pending(&p->inbox))
			litmus_idle();
		inbox_drain();
		/* The time until the timer is over. */
		timers_run(later);
		later += LOG_DRAIN_NS * 4;
	}
}

static void check(void)
{
	LITMUS_ASSERT(!memcmp(out, "a\nb\n", 4));
}

LITMUS(log, "log", "every record comes out, in order; no notice is missed", 2, 0, setup, thread,
       check);
