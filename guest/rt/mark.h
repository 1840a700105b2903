/* SPDX-License-Identifier: MIT */
/*
 * Marks for the profiler (stress/plugin/profile.h): instructions that do nothing, by which a QEMU
 * that has it loaded knows where an operation begins and ends. Free of cost without it.
 */
#ifndef MINI_MARK_H
#define MINI_MARK_H

#define MARK_OPS 256

/* A window for operation @op (below MARK_OPS) opens, closes on this CPU. */
void mark_open(unsigned int op);
void mark_close(unsigned int op);
/* Forget all windows so far. */
void mark_forget(void);
/* Have a record numbered @n (below MARK_OPS) written of all windows since the last, and forget them. */
void mark_record(unsigned int n);

#endif
