/* SPDX-License-Identifier: MIT */
/*
 * Event channels: upcalls, 2-level and FIFO delivery, and the operations of
 * xen/event_channel.h. The ABI in use is chosen once, by events_use_fifo().
 */
#ifndef MINI_EVENT_H
#define MINI_EVENT_H

#include "rt/cpu.h"

#define MAX_PORTS 4096

/* Called on the notified vCPU with events masked. */
typedef void (*event_fn)(uint32_t port, void *arg);

void events_init(void);
/* Switch the domain to FIFO channels; 0 or -XEN_E*. Before other vCPUs are up. */
long events_use_fifo(void);
extern bool events_fifo;

/* Mask or unmask upcalls on this vCPU; unmasking delivers what is pending. */
void events_mask(void);
void events_unmask(void);
bool events_save_mask(void);
void events_restore_mask(bool was_masked);

/* Bind a handler; ports start masked and with no handler. */
void event_handle(uint32_t port, event_fn fn, void *arg);
/* Take it away; then it runs nowhere, and the port may be closed and bound anew. Not from one. */
void event_unhandle(uint32_t port);
void event_mask(uint32_t port);
/* Clear the mask bit by hypercall, so that a pending event is delivered. */
long event_unmask(uint32_t port);
bool event_pending(uint32_t port);
bool event_masked(uint32_t port);
void event_clear(uint32_t port);

/* Each returns the port, or -XEN_E*. */
long event_bind_virq(uint32_t virq, uint32_t vcpu);
long event_bind_ipi(uint32_t vcpu);
long event_alloc_unbound(domid_t remote);
long event_bind_interdomain(domid_t remote, uint32_t remote_port);
/* Each returns 0 or -XEN_E*. */
long event_send(uint32_t port);
long event_close(uint32_t port);
long event_set_priority(uint32_t port, uint32_t prio);
long event_bind_vcpu(uint32_t port, uint32_t vcpu);

extern struct shared_info *shared_info;

#endif
