/* SPDX-License-Identifier: MIT */
/* RCU backend of bare metal: percpu/qsbr.c. */
#ifndef ARCH_RCU_H
#define ARCH_RCU_H

#include "percpu/pcpu.h"

static inline void arch_rcu_online(struct pcpu *p)
{
	qsbr_online(&p->qsbr);
}

static inline void arch_rcu_offline(struct pcpu *p)
{
	qsbr_offline(&p->qsbr);
}

static inline void arch_rcu_quiescent(struct pcpu *p)
{
	qsbr_quiescent(&p->qsbr);
}

static inline bool arch_rcu_is_online(struct pcpu *p)
{
	return qsbr_is_online(&p->qsbr);
}

static inline void arch_rcu_gp_start(struct pcpu *p)
{
	qsbr_gp_start(&p->rcu.gp);
}

static inline bool arch_rcu_gp_done(struct pcpu *p)
{
	return qsbr_gp_done(&p->rcu.gp);
}

#endif
