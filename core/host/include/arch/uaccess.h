/* SPDX-License-Identifier: MIT */
/* A guest's memory on the host: plain pointers. */
#ifndef ARCH_UACCESS_H
#define ARCH_UACCESS_H

#include "core/types.h"

/**
 * copy_from_guest()/copy_to_guest() - access the current vCPU's guest-kernel address space.
 * Return 0, or -XEN_EFAULT when the range is not guest memory or not mapped so; A/D and
 * copy-on-write faults are resolved inside. No sleeping. Host build: plain pointers.
 */
int copy_from_guest(void *dst, uint64_t gva, size_t len);
int copy_to_guest(uint64_t gva, const void *src, size_t len);

#endif
