/* SPDX-License-Identifier: MIT */
/*
 * A guest gives up a name that another of its vCPUs is writing to (its own race, so it may read
 * anything of its own), and puts a new frame behind it, while the share under it is being broken,
 * entries are made and TLB entries are stale. What it had goes to another domain.
 * With SHARER, one vCPU gives it up and takes it back in good order, while somebody who shared or
 * swapped it has not come to clearing the old frame's entries: it must find what it wrote since.
 * Claims: the guest neither reads nor writes what is not its own, no frame is freed while a leaf or
 * TLB entry leads to it; at rest the reference, frames, rmap slots and leaves are as they must be.
 */
#define CPUS 2
#define ALIASES 2
#define FRAMES 4
#include "common.pml"

#define F 1 /* the shared frame; the name has a reference */
#define SPARE 2
#define OLD SPARE /* where no vCPU 0 breaks shares */
#define P 4 /* free, for the name when it is taken back */

#if defined(SHARER)
#define START W(0, GUARD, OLD)
#elif defined(FROM_PRIVATE)
#define START W(0, PRIVATE, P)
#else
#define START W(0, SHARED, F)
#endif
short word = START;
bool gone, back, shared_out;
byte want = 1; /* ghost: what the guest wrote last */
#define SHARED_FRAME F
#define translated(w) \
	(state(w) == GONE || state(w) == MERGED -> 0 : (state(w) == PRIVATE -> RW(frame_of(w)) : RO(frame_of(w))))
#include "leaf.pml"
#include "name.pml"

/* Stores go to frames of this name only, retired ones included; loads find nothing foreign. */
#define guest_access(a) \
	:: d_step { \
		present(TLB(cpu, a)) -> \
		use(tlb_frame(a)); \
		assert(content[tlb_frame(a)] != BAD); \
		in_order(tlb_frame(a)) \
	   } \
	:: d_step { \
		writable(TLB(cpu, a)) -> \
		assert(tlb_frame(a) != F); \
		want = 2; \
		content[tlb_frame(a)] = 2 \
	   } \
	fill(a)
#ifdef SHARER
#define in_order(f) assert(content[f] == want)
#else
#define in_order(f) skip
#endif

proctype writer(byte cpu)
{
	byte old, new, n;
	short w, v;
	bool ok, late, again, g;

end:
	do
	guest_access(0)
	read_fault(0)
	write_fault(0)
	od
}

/* mm_decrease() and name_drop(). */
inline give_up()
{
	do
	:: v = word;
	   d_step { ok = word == v; word = (ok -> next(v, GONE, 0) : word) };
	   if
	   :: ok -> break
	   :: else
	   fi
	od;
#ifdef DROP_OLD_ONLY
	clear_leaf(0, frame_of(v));
	clear_leaf(1, frame_of(v));
#elif !defined(KEEP_ENTRIES)
	clear_leaf(0, 0);
	clear_leaf(1, 0);
#endif
	if
	:: state(v) == SHARED ->
#ifndef NO_DROP_FLUSH
	   flush();
#endif
	   d_step { put_ref() }
	:: state(v) == MERGED -> d_step { put_ref() } /* nobody has entered it */
	:: else -> retired[frame_of(v)] = true
	fi;
	/* The guest's own flush: it has nothing cached of what it gave up. */
	d_step { v = 0; TLB(cpu, 0) = 0; TLB(cpu, 1) = 0 }
}

/* mm_populate(): a zeroed frame. */
inline take_back()
{
	d_step {
		freed[P] ->
		freed[P] = false;
		content[P] = 0;
		want = 0;
		v = word;
		assert(state(v) == GONE);
		word = next(v, PRIVATE, P)
	};
	v = 0
}

proctype balloon(byte cpu)
{
	byte old, new, n;
	short w, v;
	bool ok, late, again, g;

end:
	do
	guest_access(1)
#ifdef SHARER
	write_fault(1)
#endif
	remap(1)
	:: d_step { !gone -> gone = true; rcu_enter(cpu) };
	   give_up();
	   d_step { rcu_leave(cpu) }
	:: d_step { gone && !back && freed[P] -> back = true; rcu_enter(cpu) };
	   take_back();
	   d_step { rcu_leave(cpu) }
	od
}

/* replace() of name_share() and name_set_swapped(). */
proctype sharer()
{
	short w = START;
	bool ok;

	rcu_enter(2);
	d_step { ok = word == w; word = (ok -> next(w, MERGED, F) : word) };
	if
	:: ok ->
	   clear_leaf(0, OLD);
	   clear_leaf(1, OLD);
	   retired[OLD] = true
	:: else -> d_step { put_ref() }
	fi;
	d_step { rcu_leave(2) };
	shared_out = true
}

#define at_rest \
	(!readers && shared_out && \
	 !retired[F] && !retired[SPARE] && !retired[SPARE + 1] && !retired[P])
#define owned(f) (frame_of(word) == (f))

proctype reaper()
{
end:
	do
	:: retired[F] -> release(F)
	:: retired[SPARE] -> release(SPARE)
	:: retired[SPARE + 1] -> release(SPARE + 1)
	:: retired[P] -> release(P)
	:: d_step {
		at_rest ->
		assert(ref == (state(word) == SHARED || state(word) == MERGED) && freed[F] == !ref);
		assert(freed[SPARE] == !owned(SPARE) && freed[SPARE + 1] == !owned(SPARE + 1));
		assert(freed[P] == !owned(P));
		assert(leaf_right(0) && leaf_right(1))
	   }
	od
}

init
{
	atomic {
		content[F] = 1;
		freed[SPARE + 1] = true;
#ifdef SHARER
		content[OLD] = 1;
		freed[P] = true;
		run sharer();
#else
		freed[SPARE] = true;
		shared_out = true;
		run writer(0);
#endif
#ifdef FROM_PRIVATE
		ref = false;
		freed[F] = true;
		content[P] = 1;
#elif !defined(SHARER)
		freed[P] = true;
#endif
		run reaper();
		run balloon(1)
	}
}
