/* SPDX-License-Identifier: MIT */
/*
 * The scanner write-protects a private name (guard, make leaves read-only, flush, grace period)
 * against all that writes its frame: a guest through two aliases and stale TLB entries, a mapper
 * that makes a leaf writable, the hypervisor's own stores through the direct map.
 * Claim: from the end of the grace period on, nobody writes the frame while the word is unchanged.
 */
#define CPUS 2
#define ALIASES 2
#define FRAMES 1

#include "common.pml"

#define M 1

short word = W(0, PRIVATE, M);
short settled; /* ghost: the word that promises constant content; 0: none yet */
#define SHARED_FRAME 0
#define translated(w) (state(w) == PRIVATE -> RW(M) : RO(M))
#include "leaf.pml"


/* A store to the frame, however it comes. */
#define stored() assert(word != settled)

/* name_writable(): a guarded word loses its guard. */
inline unguard()
{
	do
	:: w = word;
	   if
	   :: state(w) == PRIVATE -> break
	   :: else -> word = (word == w -> next(w, PRIVATE, M) : word)
	   fi
	od;
	w = 0
}

#define guest_access(a) \
	:: d_step { writable(TLB(cpu, a)) -> stored() } \
	:: d_step { present(leaf[a]) && TLB(cpu, a) != leaf[a] -> TLB(cpu, a) = leaf[a] }

#define write_fault(a) \
	:: d_step { mapped[a] && !writable(leaf[a]) -> rcu_enter(cpu) }; \
	   unguard(); \
	   sync_leaf(a); \
	   d_step { rcu_leave(cpu) }

/* One vCPU writes through both aliases. */
proctype writer(byte cpu)
{
	byte old, new;
	short w;
	bool late, again, g;

end:
	do
	guest_access(0)
	guest_access(1)
	write_fault(0)
	od
}

/* The other one writes, too, changes its page table without any flush, and makes hypercalls that
 * store into the page. */
proctype mapper(byte cpu)
{
	byte old, new;
	short w;
	bool late, again, g;

end:
	do
	guest_access(1)
	write_fault(1)
	:: d_step { rcu_enter(cpu); mapped[1] = !mapped[1] };
	   sync_leaf(1);
	   d_step { rcu_leave(cpu) }
	:: rcu_enter(cpu);
#ifndef UNCHECKED_STORE
	   unguard();
#endif
	   stored();
	   d_step { rcu_leave(cpu) }
	od
}

proctype scanner()
{
	byte round;
	bool found;
	short w;

	for (round : 1 .. ROUNDS) {
		if
		:: d_step { state(word) == PRIVATE -> w = next(word, GUARD, M); word = w };
		   make_read_only(0);
		   make_read_only(1);
#ifdef FLUSH_IF_FOUND
		   if
		   :: found -> flush(); found = false
		   :: !found
		   fi;
#elif !defined(NO_FLUSH)
		   flush();
#endif
#ifndef NO_GRACE
		   grace_period(0);
#endif
		   settled = w
		:: else
		fi
	}
}

init
{
	atomic {
		run scanner();
		run mapper(1);
		run writer(0)
	}
}
