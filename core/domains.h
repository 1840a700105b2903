/* SPDX-License-Identifier: MIT */
/* What core/create.c and core/control.c need of the run as a whole (core/domains.c). */
#ifndef CORE_DOMAINS_H
#define CORE_DOMAINS_H

#include "core/config.h"
#include "core/domain.h"

/** domains_config() - the configuration's guest @name, valid until the next call; or NULL. pCPU 0. */
const struct guest_config *domains_config(const char *name);

/** domains_configured() - whether the configuration has a guest of this name. Any pCPU. */
bool domains_configured(const char *name);

/** domains_build() - domain_build() with the machine's boot modules and the next free id. */
int domains_build(const struct guest_config *g, struct domain **out, char *why, size_t why_len);

/**
 * domains_hold() - the machine does not end before domains_release(), even without any domain.
 * False when it is ending already. hold: pCPU 0; release: any.
 */
bool domains_hold(void);
void domains_release(void);

/**
 * domains_start() - domain_start() of one just built; @r is what becomes its record. When the `q`
 * command has come, it ends at once. RCU section, any pCPU.
 */
void domains_start(struct domain *d, struct guest_record *r);

/** domains_ending() - the `q` command has come: start nothing more. Any pCPU. */
bool domains_ending(void);

/** domain_by_name() - the running domain of this name, or NULL. RCU section. */
struct domain *domain_by_name(const char *name);

#endif
