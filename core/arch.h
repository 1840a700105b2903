/* SPDX-License-Identifier: MIT */
/*
 * The arch contract: what core/x86 and core/host each supply to the portable code. Two further
 * headers come by include path: <arch/cpu.h> (this_pcpu(), struct arch_pcpu, cpu_relax, cycles,
 * arch_take_irqs()) and <arch/vcpu.h> (struct arch_vcpu).
 *
 * The hypervisor runs with interrupts off, run-to-completion: an IRQ or IPI is taken only from
 * guest mode, from the idle loop, or where arch_take_irqs() lets it in. Long operations poll
 * preempt_pending() and continue later.
 */
#ifndef CORE_ARCH_H
#define CORE_ARCH_H

#include <arch/uaccess.h>

#include "core/types.h"

struct vcpu;
struct domain;
struct pcpu;
struct time_scale;

/** arch_phys_to_virt() - hypervisor's direct-map address of a frame. Any context. */
static inline void *arch_mfn_to_virt(mfn_t m);
/** arch_virt_to_mfn() - inverse, for direct-map addresses only. */
static inline mfn_t arch_virt_to_mfn(const void *p);

#include <arch/mem.h> /* defines the two above */

/** arch_now_ns() - system time in ns since boot; monotonic across pCPUs. */
uint64_t arch_now_ns(void);

/** arch_tsc_hz() - frequency of the counter guests read with RDTSC, in Hz. */
uint64_t arch_tsc_hz(void);

/** arch_wallclock_ns() - wall-clock time (Unix epoch) of system time 0, in ns. */
uint64_t arch_wallclock_base_ns(void);

/** arch_set_deadline() - interrupt this pCPU at system time @ns (TIME_NEVER: none). */
void arch_set_deadline(uint64_t ns);

/** arch_kick() - make pCPU @cpu leave guest mode or idle soon and run its pending work. */
void arch_kick(unsigned cpu);

/**
 * arch_idle() - wait until an interrupt or kick arrives. Called with interrupts off after
 * checking that no work is pending; must not lose a kick sent since that check. RCU is offline
 * and the hypervisor's own CR3 is loaded. Returns with interrupts off.
 */
void arch_idle(void);

/** arch_tlb_flush_local() - flush this pCPU's non-global TLB entries and paging caches. */
void arch_tlb_flush_local(void);
/** arch_tlb_flush_one() - flush one guest virtual address on this pCPU. */
void arch_tlb_flush_one(uint64_t va);

/**
 * arch_hyp_l4 - hardware L4 entries of slots 256..271 (M2P, hypervisor image, direct map), copied
 * into every hardware L4. Final before the first domain is built. Host: zeros.
 */
extern uint64_t arch_hyp_l4[16];

/**
 * arch_new_baseptr() / arch_new_user_baseptr() - the current vCPU's guest-kernel (user) L4 becomes
 * @gfn with hardware L4 @hw_root, both INVALID_* for "no user table". The kernel one is loaded now
 * (tlb_note_load() before). Returns the previous gfn (INVALID_GFN: none), whose reference the
 * caller then drops with mm_base_put(). References for both are taken with mm_base_get() before.
 */
gfn_t arch_new_baseptr(gfn_t gfn, mfn_t hw_root);
gfn_t arch_new_user_baseptr(gfn_t gfn, mfn_t hw_root);

/** arch_reload_baseptr() - when @gfn is the current vCPU's kernel L4 already: load it again (which
 * flushes the TLB) and return true. */
bool arch_reload_baseptr(gfn_t gfn);

/** arch_set_ldt() - MMUEXT_SET_LDT for the current vCPU. 0 or -XEN_EINVAL. */
long arch_set_ldt(uint64_t gva, uint64_t ents);

/** arch_flush_cache() - write back and invalidate this pCPU's caches. */
void arch_flush_cache(void);

/**
 * arch_context_switch() - save @prev's guest state, load @next's (either may be NULL: idle, which
 * loads the hypervisor's own CR3). Called by core/run.c on the pCPU's own stack.
 */
void arch_context_switch(struct vcpu *prev, struct vcpu *next);

/**
 * arch_kernel_space() - @on: load the address space of the guest kernel, in which @v (current) has
 * registered its areas, when it is in user mode; else back to the one of the mode it is in.
 */
void arch_kernel_space(struct vcpu *v, bool on);

/** arch_vcpu_init/free() - allocate and release arch state (FPU area, GDT copy). 0 or -XEN_ENOMEM. */
int arch_vcpu_init(struct vcpu *v);
void arch_vcpu_free(struct vcpu *v);

/** arch_vcpu_set_context() - VCPUOP_initialise: load a vcpu_guest_context from guest address. */
int arch_vcpu_set_context(struct vcpu *v, uint64_t gva);

/**
 * arch_vcpu_start_info() - initial context of vCPU 0: rip, rsp (kernel mode), rsi = start_info
 * virtual address, base pointer = gfn of the L4. Interrupts (events) masked.
 */
int arch_vcpu_boot_context(struct vcpu *v, uint64_t rip, uint64_t rsp, uint64_t rsi, gfn_t l4);

/** arch_tsc_scale()/arch_tsc_base() - system time = scale(tsc - base) (core/time.h). The TSC is
 * invariant and synchronised, so these never change: what guests compute is arch_now_ns(). */
struct time_scale arch_tsc_scale(void);
uint64_t arch_tsc_base(void);

/**
 * arch_callers() - return addresses of the calls that are under way, from the function with frame
 * @frame (__builtin_frame_address(0)) outwards, into @pc. Returns how many, at most @n. Any context.
 */
unsigned arch_callers(const void *frame, uintptr_t *pc, unsigned n);

/** arch_hypercall_page() - fill a page (hypervisor address) with the ABI's 32-byte call stubs. */
void arch_hypercall_page(void *page);

/**
 * arch_hypercall_restart() - the current vCPU issues hypercall @nr again, with these arguments,
 * when it next runs: registers rewritten, instruction pointer moved back to the call.
 */
void arch_hypercall_restart(unsigned nr, const uint64_t args[6]);

/** arch_vcpu_leave_pcpu() - leave nothing of @v's state in this pCPU's registers (@v is not current):
 * before it moves to another pCPU (on_migrate_out hook), and after it stopped. */
void arch_vcpu_leave_pcpu(struct vcpu *v);

/** arch_vcpu_send_nmi() - make @v take its NMI callback. 0, or -XEN_EINVAL when it has none. */
int arch_vcpu_send_nmi(struct vcpu *v);

/** arch_vcpu_set_iopl() - virtual I/O privilege level (0-3) of the current vCPU. */
void arch_vcpu_set_iopl(unsigned level);

/** arch_console_write() - write raw bytes to output stream (0 = COM1 log, 1 = COM2 records,
 * 2 = COM3 attached console). Only the log writer calls it. */
void arch_console_write(unsigned stream, const char *buf, size_t len);
/** arch_console_read() - next input byte of a stream, or -1. */
int arch_console_read(unsigned stream);

/** arch_poweroff() - end the machine with @status (see launch/: 0x10 ok, 0x11 guest failed). */
NORETURN void arch_poweroff(unsigned status);

#endif
