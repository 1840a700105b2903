/* SPDX-License-Identifier: MIT */
/* The table of roles. */
#include "roles/roles.h"
#include "rt/role.h"

const struct role roles[] = {
	{"hello", role_hello},
	{NULL, NULL},
};
