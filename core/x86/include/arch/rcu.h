/* SPDX-License-Identifier: MIT */
/* RCU backend on bare metal: percpu/qsbr.c. Included by percpu/rcu.c only. */
#ifndef ARCH_RCU_H
#define ARCH_RCU_H

#include "percpu/pcpu.h"

#define arch_rcu_online(p) qsbr_online(&(p)->qsbr)
#define arch_rcu_offline(p) qsbr_offline(&(p)->qsbr)
#define arch_rcu_quiescent(p) qsbr_quiescent(&(p)->qsbr)
#define arch_rcu_is_online(p) qsbr_is_online(&(p)->qsbr)
#define arch_rcu_gp_start(p) qsbr_gp_start(&(p)->rcu.gp)
#define arch_rcu_gp_done(p) qsbr_gp_done(&(p)->rcu.gp)

#endif
