/* SPDX-License-Identifier: MIT */
/*
 * memsvc/sync.c and the walks of memsvc/rmap.c, for one name whose word is `word` and whose two
 * possible leaf entries are leaf[]. Before the include: word, translated(w): the entry that word w
 * allows, and SHARED_FRAME: whose entries are claimed in the name page (0: none). Users declare
 * byte cpu, old, new; short w; bool late, again, g.
 */
byte slot[ALIASES];	     /* rmap: copies of the entry's location */
bool claimed[ALIASES];	     /* name page: an entry or mapper has it (shared frames only) */
bool mapped[ALIASES] = true; /* the guest's own entry */

/* rmap_retract(): entry e was exchanged out, by us alone. */
#define retract(a, e) \
	slot[a] = slot[a] - ((e) > 1); \
	claimed[a] = claimed[a] && !((e) > 1 && frame(e) == SHARED_FRAME)

/* Whether a copy may take the frame's place at any moment. */
#ifdef EXCHANGE
#define unsteady(w) false
#else
#define unsteady(w) (state(w) != PRIVATE)
#endif

#ifdef NO_RECHECK
#define changed(w) false
#else
#define changed(w) ((w) != word)
#endif

/* The same frame, or none: how it is recorded stays. */
#define alike(old, new) ((old) < 16 && present(old) == present(new) && frame(old) == frame(new))

/* sync_leaf(): bring a leaf in step; any number of CPUs at once. In an RCU section. */
inline sync_leaf(a)
{
	do
	:: d_step { g = mapped[a]; old = leaf[a]; again = false };
	   d_step { w = word; new = (g -> translated(w) : 0) };
	   if
	   :: alike(old, new) ->
	      d_step { again = leaf[a] != old; leaf[a] = (again -> leaf[a] : new) }
	   :: else ->
	      publish(a);
	      if
	      :: again
	      :: !again && new && unsteady(w) ->
		 /* enter_unsteady() */
		 d_step { old = leaf[a]; leaf[a] = PENDING(cpu, frame(new)); retract(a, old) };
		 if
		 :: changed(w) ->
		    d_step {
			again = true;
			late = true;
			if
			:: leaf[a] == PENDING(cpu, frame(new)) -> leaf[a] = 0; retract(a, new)
			:: else
			fi
		    }
		 :: else ->
		    d_step {
			again = leaf[a] != PENDING(cpu, frame(new));
			leaf[a] = (again -> leaf[a] : new)
		    }
		 fi
	      :: else ->
		 d_step { old = leaf[a]; leaf[a] = new; retract(a, old) }
	      fi;
#ifdef LATE_SLOT
	      if
	      :: !again && new -> slot[a]++
	      :: else
	      fi
#endif
	   fi;
	   if
	   :: again
	   :: else ->
	      if
	      :: new && changed(w) -> late = true
	      :: else ->
		 if
		 :: g == mapped[a] -> break
		 :: else
		 fi
	      fi
	   fi
	od;
	atomic { old = 0; new = 0; w = 0; again = false; g = false };
	if
	:: late -> flush(); late = false
	:: !late
	fi
}

/* rmap_add(), or rmap_claim() for a shared frame. */
inline publish(a)
{
	d_step {
		if
		:: new && frame(new) == SHARED_FRAME && claimed[a] ->
		   /* The present entry's, or another mapper's on its way: then absent for now. */
		   old = leaf[a];
		   leaf[a] = 0;
		   retract(a, old);
		   again = old > 1 && frame(old) == SHARED_FRAME;
		   new = 0
		:: new && !(frame(new) == SHARED_FRAME && claimed[a]) ->
#ifndef LATE_SLOT
		   slot[a]++;
#endif
		   claimed[a] = claimed[a] || frame(new) == SHARED_FRAME
		:: else
		fi
	}
}

/* rmap_protect_all(). found: there was a writable entry. */
inline make_read_only(a)
{
	atomic {
		if
		:: slot[a] && writable(leaf[a]) -> leaf[a]--; found = true
		:: else
		fi
	}
}

/* rmap_clear_all(): entries for frame f, or for any (f = 0); pending ones, too. */
inline clear_leaf(a, f)
{
	if
	:: slot[a] ->
	   d_step {
		if
#ifdef MISS_PENDING
		:: present(leaf[a]) && (!(f) || frame(leaf[a]) == (f)) ->
#else
		:: leaf[a] > 1 && (!(f) || frame(leaf[a]) == (f)) ->
#endif
		   retract(a, leaf[a]);
		   leaf[a] = 0
		:: else
		fi
	   }
	:: else
	fi
}
