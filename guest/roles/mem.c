/* SPDX-License-Identifier: MIT */
/* Memory and page-table exerciser. */
#include "roles/mem.h"
#include "roles/roles.h"
#include "rt/role.h"
#include "rt/smp.h"

void role_mem(void)
{
	uint64_t seed = rnd_init();
	unsigned long left, steps = arg_num("steps", 3000);

	smp_up_all();
	mem_bits();
	mem_tables();
	mem_balloon(arg_num("balloon", 64));
	left = pages_left();
	mem_random(steps);
	role_pass("vcpus=%u seed=%lu steps=%lu pages_left=%lu", nr_cpus, seed, steps, left);
}
