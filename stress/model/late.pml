/* SPDX-License-Identifier: MIT */
/*
 * Frames entered late (percpu/tlb.h): a mapper that read a name's word before it changed may put an
 * entry for the old frame into a table, and take it out at its second look. Somebody else may take
 * it out first, and then reads the frame's record to find the rmap location. His RCU section may
 * have begun after the frame's grace period did, so such a frame waits for a second one.
 * Claim: a frame is not freed while somebody has one of its entries in hand.
 */
#define CPUS 2
#define ALIASES 2
#define FRAMES 1
#include "common.pml"

#define MAPPERS 2
#define ROUNDS 1 /* of each taker */

bool changed; /* the word has another frame now */
bool late;    /* page_info.dom.late */
bool retired;
byte entry; /* 0, or who entered it: its pending value */

/* enter_unsteady(), once */
proctype mapper(byte me)
{
	byte old;

	rcu_enter(me);
	if
	:: !changed ->
	   d_step { old = entry; entry = me + 1 };
	   /* The entry that was there: its record is read. */
	   assert(!old || !freed[1]);
	   if
	   :: changed ->
#ifndef NO_LATE
	      late = true;
#endif
	      d_step { old = (entry == me + 1 -> entry : 0); entry = entry - old };
	      assert(!old || !freed[1])
	   :: else
	   fi
	:: else
	fi;
	d_step { rcu_leave(me) }
}

/* mmu_update, sweep: exchanges an entry out, and then retracts its location. */
proctype taker(byte me)
{
	byte round, old;

	for (round : 1 .. ROUNDS) {
		rcu_enter(me);
		d_step { old = entry; entry = 0 };
		assert(!old || !freed[1]);
		old = 0;
		d_step { rcu_leave(me) }
	}
}

/* The word's change, its walk, and the frame's way out. */
proctype changer()
{
	byte old;

	changed = true;
	d_step { old = entry; entry = 0 };
	old = 0;
	do
	:: grace_period(0);
	   if
	   :: late -> late = false
	   :: else -> break
	   fi
	od;
	freed[1] = true
}

init
{
	atomic {
		run mapper(0);
		run mapper(1);
		run taker(2);
		run taker(3);
		run changer()
	}
}
