/* SPDX-License-Identifier: MIT */
/*
 * memsvc/name.c: what a guest's access does to a name, and the frames behind it. F is what the name
 * may share: a frame, or with SWAP a slot of the swap device (which no entry can lead to). SPARE is
 * the frame in CPU 0's page cache, CPU 1 has the next one. After leaf.pml; users declare, beside
 * those of leaf.pml: byte n; short v; bool ok.
 */
#define BAD 3 /* the content of what is not the guest's (any more) */

bool ref = true; /* the reference to F */
bool retired[FRAMES + 1];

#define use(f) assert(!freed[f])
#define put_ref() \
	assert(ref); \
	ref = false; \
	retired[F] = true

inline put_if_own()
{
	if
	:: ok -> d_step { put_ref(); ok = false }
	:: !ok
	fi
}

/* The entries a break clears: who changed the name before may not have come to his own walk. */
#ifdef CLEAR_OLD_ONLY
#define STALE F
#else
#define STALE 0
#endif

/* name_finish_break(): clear every entry, flush; only then writable. Anyone may do it. */
inline finish_break(a)
{
#ifdef ONE_ALIAS
	clear_leaf(a, STALE);
#else
	clear_leaf(0, STALE);
	clear_leaf(1, STALE);
#endif
#ifdef PUT_BEFORE_FLUSH
	/* And the flush is not in the same RCU section. */
	put_if_own();
	d_step { rcu_leave(cpu); rcu_enter(cpu) };
#endif
#ifndef WRITABLE_BEFORE_FLUSH
	flush();
#endif
	word = (word == v -> next(v, PRIVATE, frame_of(v)) : word);
#ifdef WRITABLE_BEFORE_FLUSH
	flush();
#endif
}

/* name_touch() for a write: returns when the name is private, or given up. */
inline touch(a)
{
	do
	:: v = word;
	   if
	   :: state(v) == PRIVATE || state(v) == GONE -> break
	   :: state(v) == GUARD -> word = (word == v -> next(v, PRIVATE, frame_of(v)) : word)
	   :: state(v) == BREAK -> finish_break(a)
	   :: state(v) == FLUSHED ->
	      n = SPARE + cpu;
	      if
	      :: d_step {
		   freed[n] ->
		   use(F);
		   freed[n] = false;
		   content[n] = content[F]
		 };
		 d_step { ok = word == v; word = (ok -> next(v, PRIVATE, n) : word) };
		 if
		 :: ok -> put_if_own()
		 :: else -> freed[n] = true
		 fi
	      :: !freed[n]
	      fi
	   :: state(v) == SHARED || state(v) == MERGED ->
	      n = SPARE + cpu;
	      if
	      :: d_step {
		   freed[n] ->
		   use(F);
		   freed[n] = false;
		   content[n] = content[F]
		 };
#ifdef SWAP_IN_PRIVATE
		 d_step { ok = word == v; word = (ok -> next(v, PRIVATE, n) : word) };
		 if
		 :: ok -> put_if_own()
		 :: else -> freed[n] = true
		 fi
#else
		 d_step { ok = word == v; v = next(v, BREAK, n); word = (ok -> v : word) };
		 if
		 :: !ok -> freed[n] = true
		 :: else ->
#ifdef SWAP
		    put_if_own();
#endif
		    finish_break(a);
		    put_if_own()
		 fi
#endif
	      :: !freed[n] /* no memory: once more */
	      fi
	   fi
	od;
	atomic { v = 0; n = 0 }
}

/* name_touch() for a read: what was merged gets entries from now on. */
inline touch_to_read()
{
	do
	:: v = word;
	   if
	   :: state(v) == MERGED || state(v) == FLUSHED ->
	      word = (word == v -> next(v, SHARED, frame_of(v)) : word)
	   :: else -> break
	   fi
	od;
	v = 0
}

/* tlb_retire(), shared_free(): a flush (who drops a reference to F has flushed), a grace period;
 * then another domain may have the frame. */
inline release(f)
{
#ifndef NO_RETIRE_FLUSH
	if
	:: f != F -> flush()
	:: f == F
	fi;
#endif
#ifndef NO_RETIRE_GRACE
	grace_period(1);
#endif
	d_step {
		assert(!freed[f] && !reachable(f));
		retired[f] = false;
		freed[f] = true;
		content[f] = BAD
	}
}

#define tlb_frame(a) frame(TLB(cpu, a))
#define fill(a) \
	:: d_step { present(leaf[a]) && TLB(cpu, a) != leaf[a] -> TLB(cpu, a) = leaf[a] }
#ifdef SWAP
#define read_touched() skip /* a swapped name comes back by writes only, here */
#else
#define read_touched() touch_to_read()
#endif
#define read_fault(a) \
	:: d_step { mapped[a] && !present(leaf[a]) -> rcu_enter(cpu) }; \
	   read_touched(); \
	   sync_leaf(a); \
	   d_step { rcu_leave(cpu) }
#define write_fault(a) \
	:: d_step { mapped[a] && !writable(leaf[a]) -> rcu_enter(cpu) }; \
	   touch(a); \
	   sync_leaf(a); \
	   d_step { TLB(cpu, a) = 0; rcu_leave(cpu) }
/* mmu_update of an entry, without any flush. */
#define remap(a) \
	:: d_step { rcu_enter(cpu); mapped[a] = !mapped[a] }; \
	   sync_leaf(a); \
	   d_step { rcu_leave(cpu) }

/* At rest an entry is for the frame that the name has, and is recorded once. */
#define leaf_right(a) \
	(slot[a] == present(leaf[a]) && \
	 (!present(leaf[a]) || (mapped[a] && mapped_by(leaf[a], frame_of(word)))))
