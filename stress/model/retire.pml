/* SPDX-License-Identifier: MIT */
/*
 * percpu/tlb.c and percpu/retire.c: a frame whose last entry was cleared is reused when each pCPU
 * that had the address space loaded has flushed since, by itself (its epoch moved on) or asked by
 * ticket, and a grace period has passed. Two pCPUs load and leave that space, run its guest, and
 * are interrupted at any time; a third one retires the frame.
 * Claim: when it is freed no TLB holds it, and what the ticket promises has happened.
 */
#define LOADS 2 /* by pCPU 0; one by pCPU 1 */

bool leaf = true;
bool cr3[2]; /* this space, or the hypervisor's own */
bool tlb[2]; /* the frame's translation is cached */
bool loaded[2];
byte epoch[2];
byte req[2] = 1, done[2]; /* somebody asked before */
byte readers;
byte waits_for;

#define online() readers = readers | (1 << cpu)
#define offline() \
	d_step { \
		readers = readers & ~(1 << cpu); \
		waits_for = waits_for & ~(1 << cpu) \
	}
#define write_cr3(v) d_step { cr3[cpu] = v; tlb[cpu] = false }

/* tlb_note_load() and the CR3 write. */
inline load(v)
{
	epoch[cpu]++;
#ifdef LOADED_LATE
	write_cr3(v);
	loaded[cpu] = v
#else
	loaded[cpu] = v;
	write_cr3(v)
#endif
}

/* tlb_serve() */
inline serve()
{
	if
	:: req[cpu] != done[cpu] ->
#ifdef TICKET_AFTER_FLUSH
	   epoch[cpu]++;
	   tlb[cpu] = false;
	   ticket = req[cpu];
#else
	   ticket = req[cpu];
	   epoch[cpu]++;
	   tlb[cpu] = false;
#endif
	   done[cpu] = ticket;
	   ticket = 0
	:: else
	fi
}

/* A pCPU; between two statements its MMU may walk, see mmu(). */
proctype pcpu(byte cpu)
{
	byte loads = cpu, ticket;

	do
	:: loads < LOADS ->
	   online();
	   loads++;
	   load(true);
	   serve();
	   offline();
	   /* In the guest, until an interrupt. */
	   online();
	   serve();
	   if
	   :: load(false)
	   :: skip /* the next load is of the same space */
	   fi;
	   offline()
	:: break
	od;
	/* Idle, in whatever space it is: a kick brings it to the exit path. */
end:
	do
	:: req[cpu] != done[cpu] -> online(); serve(); offline()
	od
}

/* Speculation included. */
proctype mmu(byte cpu)
{
end:
	do
	:: d_step { cr3[cpu] && leaf && !tlb[cpu] -> tlb[cpu] = true }
	od
}

proctype retirer()
{
	byte was[2], ticket[2];
	bool wait[2];
	byte i;

#ifdef LOOK_FIRST
	wait[0] = loaded[0];
	wait[1] = loaded[1];
	was[0] = epoch[0];
	was[1] = epoch[1];
	leaf = false;
#else
	leaf = false;
	/* close_batch() */
	for (i : 0 .. 1) {
		was[i] = epoch[i];
		wait[i] = loaded[i]
	}
#endif
	/* all_flushed() now and then; or force(). */
	do
	:: wait[0] && epoch[0] != was[0] -> wait[0] = false
	:: wait[1] && epoch[1] != was[1] -> wait[1] = false
	:: !wait[0] && !wait[1] -> break
	:: wait[0] || wait[1] ->
	   for (i : 0 .. 1) {
		if
		:: wait[i] -> d_step { req[i]++; ticket[i] = req[i] }
		:: else
		fi
	   }
	   for (i : 0 .. 1) {
		do
		:: done[i] >= ticket[i] -> break
		od
	   }
	   break
	od;
#ifndef NO_GRACE
	waits_for = readers;
	waits_for == 0;
#endif
	assert(!tlb[0] && !tlb[1])
}

init
{
	atomic {
		run retirer();
		run mmu(1);
		run mmu(0);
		run pcpu(1);
		run pcpu(0)
	}
}
