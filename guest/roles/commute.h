/* SPDX-License-Identifier: MIT */
/*
 * Operations that commute: two sides run any two of them at a time, each on its own operands. Those
 * of the two sides lie in different lines of what the guest sees, but next to each other: page-table
 * entries in neighbouring lines of one table, frames with neighbouring numbers, and so on.
 */
#ifndef MINI_ROLES_COMMUTE_H
#define MINI_ROLES_COMMUTE_H

#include "rt/base.h"
#include "rt/mem.h"

#define COMMUTE_SIDES 2
#define COMMUTE_RUNS 64 /* runs of an operation, those to warm up included */
#define COMMUTE_WARM 24

/* Where an operation is allowed: its sides in one domain, in two; only with itself. */
#define IN_ONE 1u
#define IN_TWO 2u
#define IN_ITSELF 4u

struct side {
	unsigned int id;     /* 0, 1 */
	unsigned int target; /* another vCPU, which only this side makes calls for */
	void *state[64];     /* each operation's, made by its init */
};

struct commute_op {
	const char *name;
	unsigned int where;
	/* Once per side, on the side's vCPU; its result is kept in side.state[op]. */
	void *(*init)(struct side *s);
	/* Before and after each round of COMMUTE_RUNS runs; may be NULL. */
	void (*begin)(struct side *s, void *state);
	void (*end)(struct side *s, void *state);
	void (*run)(struct side *s, void *state, unsigned int i);
};

extern const struct commute_op commute_ops[];
extern const unsigned int commute_nr_ops;
extern bool commute_two; /* the other side is in another domain */

/* What they share: see commute_mem.c. Called once, before any init. */
void commute_mem_prepare(void);
/* commute_mem.c */
void *map_init(struct side *s);
void map_run(struct side *s, void *state, unsigned int i);
void batch_run(struct side *s, void *state, unsigned int i);
void va_run(struct side *s, void *state, unsigned int i);
void *same_init(struct side *s);
void same_run(struct side *s, void *state, unsigned int i);
void store_run(struct side *s, void *state, unsigned int i);
void *fresh_init(struct side *s);
void fault_begin(struct side *s, void *state);
void cow_begin(struct side *s, void *state);
void fault_run(struct side *s, void *state, unsigned int i);
void reserve_run(struct side *s, void *state, unsigned int i);
void *reserve_init(struct side *s);
void *pin_init(struct side *s);
void *pin_full_init(struct side *s);
void pin_run(struct side *s, void *state, unsigned int i);
void *base_init(struct side *s);
void base_run(struct side *s, void *state, unsigned int i);
void base_end(struct side *s, void *state);

#endif
