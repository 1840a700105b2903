/* SPDX-License-Identifier: MIT */
/* RCU backend of the host: urcu-qsbr, or percpu/qsbr.c, chosen by host_rcu_select(). */
#ifndef ARCH_RCU_H
#define ARCH_RCU_H

#include "core/types.h"

struct pcpu;

void arch_rcu_online(struct pcpu *p);
void arch_rcu_offline(struct pcpu *p);
void arch_rcu_quiescent(struct pcpu *p);
bool arch_rcu_is_online(struct pcpu *p);
void arch_rcu_gp_start(struct pcpu *p);
bool arch_rcu_gp_done(struct pcpu *p);

#endif
