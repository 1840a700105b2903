/* SPDX-License-Identifier: MIT */
/* The trap table, and what becomes of a trap: user process, probe, or panic. */
#include "rt/trap.h"
#include "rt/console.h"
#include "rt/event.h"
#include "rt/hypercall.h"
#include "rt/proc.h"
#include "rt/role.h"

#define TRAP_TABLE_MAX 24

struct ex_entry {
	unsigned long insn, fixup;
};

extern const struct ex_entry ex_table_start[], ex_table_end[];

bool (*trap_hook)(struct regs *r);

#define STUB(v) extern char trap_##v[]
STUB(0);
STUB(1);
STUB(2);
STUB(3);
STUB(4);
STUB(5);
STUB(6);
STUB(7);
STUB(8);
STUB(10);
STUB(11);
STUB(12);
STUB(13);
STUB(14);
STUB(16);
STUB(17);
STUB(18);
STUB(19);
STUB(128);

/* Flags: DPL, and 4 = mask events on entry (all but #BP, #OF and int 0x80 need that here). */
#define GATE(v, f)                                            \
	{                                                     \
		v, f, FLAT_KERNEL_CS, (unsigned long)trap_##v \
	}

/* As a list with an end mark, as set_trap_table wants it. */
static void trap_table(struct trap_info *t)
{
	const struct trap_info all[] = {
		GATE(0, 4),  GATE(1, 4),  GATE(2, 4),  GATE(3, 7),   GATE(4, 7),
		GATE(5, 4),  GATE(6, 4),  GATE(7, 4),  GATE(8, 4),   GATE(10, 4),
		GATE(11, 4), GATE(12, 4), GATE(13, 4), GATE(14, 4),  GATE(16, 4),
		GATE(17, 4), GATE(18, 4), GATE(19, 4), GATE(128, 7), {0, 0, 0, 0},
	};

	_Static_assert(ARRAY_LEN(all) <= TRAP_TABLE_MAX, "trap table too long");
	memcpy(t, all, sizeof(all));
}

void trap_table_indexed(struct trap_info *t)
{
	struct trap_info list[TRAP_TABLE_MAX];

	trap_table(list);
	for (const struct trap_info *e = list; e->address; e++)
		t[e->vector] = *e;
}

void trap_callback(uint16_t type, char *address)
{
	struct callback_register cb = {
		.type = type,
		.flags = CALLBACKF_mask_events,
		.address = (unsigned long)address,
	};
	long rc = HC2(callback_op, CALLBACKOP_register, &cb);

	if (rc)
		panic("callback_op type %u: %ld", type, rc);
}

void trap_init(void)
{
	struct trap_info t[TRAP_TABLE_MAX];
	long rc;

	trap_table(t);
	rc = HC1(set_trap_table, t);
	if (rc)
		panic("set_trap_table: %ld", rc);
	trap_callback(CALLBACKTYPE_event, event_callback);
	trap_callback(CALLBACKTYPE_failsafe, failsafe_callback);
	trap_callback(CALLBACKTYPE_syscall, syscall_callback);
}

static bool fixup(struct regs *r)
{
	for (const struct ex_entry *e = ex_table_start; e < ex_table_end; e++)
		if (e->insn == r->rip) {
			r->rip = e->fixup;
			r->r15 = FAULT(r->vec);
			return true;
		}
	return false;
}

unsigned long guard_enter(void (*fn)(void *arg), void *arg);
void guard_leave(unsigned long result) __attribute__((noreturn));

unsigned long trap_guard(void (*fn)(void *arg), void *arg)
{
	bool was = events_save_mask();
	unsigned long st;

	events_restore_mask(was);
	st = guard_enter(fn, arg);
	/* A trap masked events on its way in. */
	events_restore_mask(was);
	return st;
}

void trap_handler(struct regs *r)
{
	struct cpu *c = this_cpu();

	c->trap.vec = r->vec;
	c->trap.err = r->err;
	c->trap.rip = r->rip;
	c->trap.count++;
	if (r->vec == TRAP_PF)
		c->trap.cr2 = c->vi->arch.cr2;
	if (from_user(r) && c->proc)
		proc_trapped(r); /* does not return */
	if (trap_hook && trap_hook(r))
		return;
	if (fixup(r))
		return;
	if (c->guard_rsp)
		guard_leave(FAULT(r->vec));
	if (r->vec == TRAP_FAILSAFE)
		printf("mini: ds %lx es %lx fs %lx gs %lx\n", c->failsafe_sel[0],
		       c->failsafe_sel[1], c->failsafe_sel[2], c->failsafe_sel[3]);
	panic("trap %lu err %lx at %lx sp %lx cr2 %lx cs %lx rax %lx rdi %lx", r->vec, r->err,
	      r->rip, r->rsp, c->trap.cr2, r->cs, r->rax, r->rdi);
}
