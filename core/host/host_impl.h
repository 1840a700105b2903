/* SPDX-License-Identifier: MIT */
/* Between the host arch's own files. */
#ifndef CORE_HOST_HOST_IMPL_H
#define CORE_HOST_HOST_IMPL_H

/* The calling thread will not be a pCPU any more. */
void host_rcu_thread_exit(void);

#endif
