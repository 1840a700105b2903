/* SPDX-License-Identifier: MIT */
/*
 * Two scanners find the private, guarded frame H of a name in the sharing table (a hint), promote
 * it and share it with names of their own, while its guest writes, which takes the guard off or
 * breaks the share, a third scanner guards the name anew, and the other names' guests write, too.
 * The entries and TLBs of the other names are left out (share.pml has them).
 * Claims: a guest finds what it wrote and writes what is its own; a frame's references are as many
 * as the names that share it, from its promotion to its end; none is freed that a name leads to.
 */
#define CPUS 2
#define ALIASES 2
#define FRAMES 4
#include "common.pml"

#define H 1   /* frame of name 0, which is in the table */
#define OWN 1 /* + name: the frames of names 1 and 2 */
#define NEW 4 /* free */
#define DEAD 9

/* readers, beside the names' own guests 0-2 */
#define SCANNER(name) (2 + (name))
#define GUARDER 5

short word[3];
short settled = W(0, GUARD, H); /* page_info.dom.settled of H */
byte refs;			/* of H: 0: never shared */
bool typed;			/* H's type is PG_SHARED */
bool entered = true;		/* in the sharing table */
bool retired;			/* H waits for its grace period */
byte want = 1;			/* ghost: what name 0's guest wrote last */
bool leaf_rw;			/* name 0's entry, present and for its frame, is writable */
byte rw;			/* name 0's TLB entry: a frame writable, or 0 */

#define use_h() assert(!freed[H])

/* share_put(): the last one forgets it and lets RCU free it. */
#ifdef RESURRECT
#define NO_REFS 0
#else
#define NO_REFS DEAD
#endif
inline share_put()
{
	d_step {
		assert(refs && refs != DEAD);
		refs = (refs == 1 -> NO_REFS : refs - 1);
		last = refs == NO_REFS
	};
	if
	:: last -> entered = false; d_step { retired = true; last = false }
	:: else
	fi
}

/* A vCPU of name 0's guest, which stores through its TLB. */
proctype guest()
{
end:
	do
	:: d_step { rw -> assert(rw == frame_of(word[0])); want = 2; content[rw] = 2 }
	:: d_step { leaf_rw && !rw -> rw = frame_of(word[0]) }
	:: d_step { want != content[frame_of(word[0])] -> assert(false) }
	od
}

/* Another one in mm_fault(), for a write. */
proctype owner()
{
	short w;
	bool last;

end:
	do
	:: d_step { !leaf_rw && frame_of(word[0]) == H -> rcu_enter(0) };
	   w = word[0];
	   if
	   :: state(w) == PRIVATE ->
	      leaf_rw = true;
	      if
	      :: w != word[0] -> leaf_rw = false; rw = 0
	      :: else
	      fi
	   :: state(w) == GUARD -> word[0] = (word[0] == w -> next(w, PRIVATE, H) : word[0])
	   :: state(w) == SHARED ->
	      d_step { use_h(); content[NEW] = content[H] };
	      d_step { assert(word[0] == w); word[0] = next(w, PRIVATE, NEW) };
	      share_put()
	   fi;
	   d_step { rcu_leave(0); w = 0 }
	od
}

/* Guards name 0 once more; until it is settled the guest may still write. */
proctype guarder()
{
	short w;

end:
	if
	:: d_step { state(word[0]) == PRIVATE && frame_of(word[0]) == H ->
		w = next(word[0], GUARD, H);
		word[0] = w
	   };
	   leaf_rw = false;
	   rw = 0;
	   grace_period(0);
	   d_step { rcu_enter(GUARDER); settled = (word[0] == w -> w : settled); rcu_leave(GUARDER) }
	:: state(word[0]) == SHARED
	fi
}

#ifdef UNSETTLED
#define is_settled(w) (state(w) == GUARD && frame_of(w) == H)
#else
#define is_settled(w) (state(w) == GUARD && frame_of(w) == H && settled == (w))
#endif

/* get_equal() and name_share() of a settled name with a frame of the same contents. */
proctype scanner(byte x)
{
	short w, mine;
	bool ok, last, guessed, promoted;

	mine = W(0, GUARD, OWN + x);
	/* Found in the table; or guessed: then it may be on its way out, even before this section. */
	if
	:: d_step { rcu_enter(SCANNER(x)); ok = entered }
	:: d_step { rcu_enter(SCANNER(x)); ok = true; guessed = true }
	fi;
	if
	:: d_step { ok && typed && guessed && freed[H] -> skip } /* anything may look equal by now */
	:: d_step { ok && typed && !(guessed && freed[H]) -> use_h(); ok = content[H] == 1 }
	:: ok && !typed ->
	   d_step { w = word[0]; ok = is_settled(w) };
	   if
	   :: ok -> d_step { use_h(); ok = content[H] == 1 }
	   :: else
	   fi;
	   /* name_promote(): the reference first, which keeps other promoters off. */
	   if
	   :: ok ->
	      d_step { ok = is_settled(w) && refs == 0; refs = (ok -> 1 : refs) };
	      if
	      :: ok ->
#ifdef UNCHECKED_PROMOTE
		 word[0] = next(word[0], SHARED, frame_of(word[0]));
		 typed = true;
		 promoted = true
#else
		 d_step { ok = word[0] == w; word[0] = (ok -> next(w, SHARED, H) : word[0]) };
		 if
		 :: ok -> typed = true; promoted = true
		 :: else -> refs = 0
		 fi
#endif
	      :: else
	      fi
	   :: else
	   fi
	:: !ok
	fi;
	/* share_get() */
	if
	:: ok ->
#ifdef GET_FROM_ZERO
	   d_step { ok = typed; refs = refs + ok }
#else
	   d_step { ok = typed && refs && refs != DEAD; refs = refs + ok }
#endif
	:: else
	fi;
	if
	:: ok ->
	   entered = entered || promoted || !guessed;
	   d_step { ok = word[x] == mine; word[x] = (ok -> next(mine, SHARED, H) : word[x]) };
	   if
	   :: ok
	   :: else -> share_put()
	   fi
	:: else
	fi;
	d_step { rcu_leave(SCANNER(x)) }
}

/* The guest of another name: reads; writes, before or after it is shared. */
proctype other(byte x)
{
	bool last;

end:
	do
	:: d_step { state(word[x]) == SHARED -> use_h(); assert(content[H] == 1) }
	:: d_step { state(word[x]) == GUARD -> word[x] = next(word[x], PRIVATE, OWN + x) }
	:: d_step { state(word[x]) == SHARED -> rcu_enter(x); word[x] = next(word[x], PRIVATE, OWN + x) };
	   share_put();
	   d_step { rcu_leave(x) }
	od
}

#define sharing(x) (state(word[x]) == SHARED)

proctype reaper()
{
end:
	do
	:: retired ->
#ifndef NO_GRACE
	   grace_period(1);
#endif
	   d_step {
		assert(!sharing(0) && !sharing(1) && !sharing(2) && frame_of(word[0]) != H);
		retired = false;
		freed[H] = true;
		content[H] = 3;
		typed = false;
		refs = 0
	   }
	:: d_step {
		!readers && !retired && typed && !freed[H] ->
		assert(refs == sharing(0) + sharing(1) + sharing(2))
	   }
	od
}

init
{
	atomic {
		word[0] = W(0, GUARD, H);
		word[1] = W(0, GUARD, OWN + 1);
		word[2] = W(0, GUARD, OWN + 2);
		content[H] = 1;
		run reaper();
		run guest();
		run owner();
		run guarder();
		run scanner(1);
		run scanner(2);
		run other(1);
		run other(2)
	}
}
