/* SPDX-License-Identifier: MIT */
/* The table of roles. */
#include "roles/roles.h"
#include "rt/role.h"

/* One a line. */
/* clang-format off */
const struct role roles[] = {
	{"hello", role_hello},
	{"mem", role_mem},
	{"smp", role_smp},
	{"proc", role_proc},
	{"timer", role_timer},
	{"evtchn", role_evtchn},
	{"burn", role_burn},
	{"fuzz", role_fuzz},
	{"hog", role_hog},
	{"storm", role_storm},
	{"work", role_work},
	{"evil", role_evil},
	{"wake", role_wake},
	{"idle", role_idle},
	{"pattern", role_pattern},
	{"touch", role_touch},
	{"cache", role_cache},
	{"balloon", role_balloon},
	{"bench", role_bench},
	{"busy", role_busy},
	{"commute", role_commute},
	{"scancost", role_scancost},
	{"scale", role_scale},
	{NULL, NULL},
};
/* clang-format on */
