/* SPDX-License-Identifier: MIT */
#ifndef MINI_ROLES_SHOOTDOWN_H
#define MINI_ROLES_SHOOTDOWN_H

/* After a flush of other vCPUs returned, none of them may use the old entry. */
void shootdown_test(unsigned long rounds);

#endif
