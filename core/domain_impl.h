/* SPDX-License-Identifier: MIT */
/* Between core/domain.c, core/domain_end.c and core/domains.c only. */
#ifndef CORE_DOMAIN_IMPL_H
#define CORE_DOMAIN_IMPL_H

#include "core/domain.h"

/* domain.c */

/** domain_hide() - domain_by_id() finds it no more. */
void domain_hide(struct domain *d);
/** domain_free() - release what is left of a torn-down domain, and its id. */
void domain_free(struct domain *d);
/** vcpu_migrate_out() - scheduler hook: @u leaves this pCPU. */
void vcpu_migrate_out(struct sched_unit *u);

/* domain_end.c */

/** domain_end_init() - prepare the fields the end of a domain uses. */
void domain_end_init(struct domain *d);
/** vcpu_stop() - stop a started vCPU for good; asynchronous. */
void vcpu_stop(struct vcpu *v);

#endif
