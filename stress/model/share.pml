/* SPDX-License-Identifier: MIT */
/*
 * A guarded name (guard.pml shows that its content is constant) is compared, swung to a shared
 * frame, and broken again by a guest's write, while both vCPUs read and write through two aliases,
 * hold stale TLB entries, and change their page table without flushes. With SWAP it is swapped out
 * instead, and comes back.
 * Claims: a guest reads what it last wrote, through every alias; it never writes a frame that is
 * not its own; no frame is freed while a leaf or TLB entry leads to it, nor touched after; at rest
 * the reference, frames, rmap slots and leaves are as they must be.
 */
#define CPUS 2
#define ALIASES 2
#define FRAMES 4
#include "common.pml"

#define M 1 /* the name's frame */
#define F 2 /* the shared frame; the scanner has a reference */
#define SPARE 3
#define SCANNER 2

short word = W(0, GUARD, M);
byte want = 1; /* ghost: what the guest wrote last */
bool scanned;
#ifdef SWAP
#define SHARED_FRAME 0
#define translated(w) \
	(state(w) == SHARED || state(w) == FLUSHED -> 0 : (state(w) == PRIVATE -> RW(frame_of(w)) : RO(frame_of(w))))
#define SHARED_OUT SHARED
#else
#define SHARED_FRAME F
#ifdef ENTER_MERGED
#define absent(w) false
#else
#define absent(w) (state(w) == MERGED || state(w) == FLUSHED)
#endif
#define translated(w) \
	(absent(w) -> 0 : (state(w) == PRIVATE -> RW(frame_of(w)) : RO(frame_of(w))))
#define SHARED_OUT MERGED
#endif
#include "leaf.pml"
#include "name.pml"

#define guest_access(a) \
	:: d_step { \
		present(TLB(cpu, a)) -> \
		use(tlb_frame(a)); \
		assert(content[tlb_frame(a)] == want) \
	   } \
	:: d_step { \
		writable(TLB(cpu, a)) -> \
		assert(tlb_frame(a) == frame_of(word)); \
		want = 2; \
		content[tlb_frame(a)] = want \
	   } \
	fill(a)

/* One vCPU reads and writes through both aliases; it faults on one. */
proctype writer(byte cpu)
{
	byte old, new, n;
	short w, v;
	bool ok, late, again, g;

end:
	do
	guest_access(0)
	guest_access(1)
	write_fault(0)
	od
}

/* The other one uses the other alias, and unmaps and maps it. */
proctype mapper(byte cpu)
{
	byte old, new, n;
	short w, v;
	bool ok, late, again, g;

end:
	do
	guest_access(1)
	read_fault(1)
	write_fault(1)
#if !defined(SWAP) && !defined(FLUSHES)
	remap(1)
#endif
	od
}

#ifdef MARK_READ
#define still(w) (word == w || state(word) == SHARED)
#else
#define still(w) (word == w)
#endif

/* name_share(), with a reference to F from share_get(). */
proctype scanner()
{
	short w = W(0, GUARD, M); /* settled */
	bool ok;

	rcu_enter(SCANNER);
	/* Compare in full, or store. */
	d_step {
		ok = word == w;
		if
		:: ok -> use(M); use(F); ok = content[M] == content[F]
		:: else
		fi
	};
	d_step {
		ok = ok && word == w;
		w = next(w, SHARED_OUT, F);
		word = (ok -> w : word)
	};
	if
	:: ok ->
#ifdef FLUSH_FIRST
	   flush();
#endif
	   clear_leaf(0, M);
	   clear_leaf(1, M);
	   retired[M] = true;
#if defined(SWAP) || defined(FLUSHES)
	   /* name_flushed(), or it is left to who brings it back or breaks the share. */
	   if
	   :: true ->
#if !defined(NO_STALE_FLUSH) && !defined(FLUSH_FIRST)
	      flush();
#endif
	      d_step { word = (still(w) -> next(word, FLUSHED, F) : word) }
	   :: true
	   fi
#endif
	:: else -> d_step { put_ref() }
	fi;
	d_step { rcu_leave(SCANNER) };
	scanned = true
}

#define at_rest (!readers && scanned && !retired[M] && !retired[F])
#define owned(f) (frame_of(word) == (f))

proctype reaper()
{
end:
	do
	:: retired[M] -> release(M)
	:: retired[F] -> release(F)
	:: d_step {
		at_rest ->
		assert(ref == (state(word) == SHARED_OUT || state(word) == SHARED ||
			       state(word) == FLUSHED) &&
		       freed[F] == !ref);
		assert(freed[M] == !owned(M));
		assert(freed[SPARE] == !owned(SPARE) && freed[SPARE + 1] == !owned(SPARE + 1));
		assert(leaf_right(0) && leaf_right(1))
	   }
	od
}

init
{
	atomic {
		content[M] = 1;
		content[F] = 1;
		freed[SPARE] = true;
		freed[SPARE + 1] = true;
		run reaper();
		run writer(0);
		run mapper(1);
		run scanner()
	}
}
