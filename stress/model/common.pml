/* SPDX-License-Identifier: MIT */
/*
 * What all models share: P2M words, leaf entries, TLBs, grace periods. See README.md.
 * Before the include: CPUS (2), ALIASES (2: entries 0 and 1 map the name) and FRAMES.
 */

/* A name's word: generation * 64 + state * 8 + frame; frames count from 1. */
#define MERGED 0 /* as SHARED, nothing entered since; entries of before may be cached */
#define PRIVATE 1
#define GUARD 2 /* private, write-protected */
#define STABLE 3 /* the same, after flush and grace period */
#define SHARED 4
#define BREAK 5
#define GONE 6
#define FLUSHED 7 /* as MERGED (swap: as SHARED), and flushed since */
#define W(g, s, f) (64 * (g) + 8 * (s) + (f))
#define state(w) (((w) / 8) % 8)
#define frame_of(w) ((w) % 8)
#define next(w, s, f) W((w) / 64 + 1, s, f)

/* A leaf or TLB entry: 2 * frame + writable; 0: none; from 16 on: pending, of CPU e / 16 - 1. */
#define RO(f) (2 * (f))
#define RW(f) (2 * (f) + 1)
#define PENDING(cpu, f) (16 * ((cpu) + 1) + RO(f))
#define present(e) ((e) > 1 && (e) < 16)
#define writable(e) (present(e) && (e) % 2)
#define frame(e) ((e) % 16 / 2)

byte content[FRAMES + 1];
bool freed[FRAMES + 1];
byte leaf[ALIASES];
byte tlb[CPUS * ALIASES];
#define TLB(cpu, a) tlb[(cpu) * ALIASES + (a)]

#define mapped_by(e, f) (present(e) && frame(e) == (f))
/* Whether a leaf or a TLB entry leads to a frame. */
#define reachable(f) \
	(mapped_by(leaf[0], f) || mapped_by(leaf[1], f) || mapped_by(tlb[0], f) || \
	 mapped_by(tlb[1], f) || mapped_by(tlb[2], f) || mapped_by(tlb[3], f))

/* RCU: a bit per process in a read section; per waiter, those who were in one when its grace
 * period began and have not left since. */
byte readers;
byte waits_for[2];

#define rcu_enter(p) readers = readers | (1 << (p))
#define rcu_leave(p) \
	readers = readers & ~(1 << (p)); \
	gp_note(0, p); \
	gp_note(1, p)
#define gp_note(w, p) waits_for[w] = waits_for[w] & ~(1 << (p))
#define grace_period(w) \
	waits_for[w] = readers; \
	waits_for[w] == 0

/* A shootdown: the CPUs flush in any order; it returns when both have. */
#define flush_cpu(c) \
	d_step { \
		TLB(c, 0) = 0; \
		TLB(c, 1) = 0 \
	}
inline flush()
{
	if
	:: flush_cpu(0);
	   flush_cpu(1)
	:: flush_cpu(1);
	   flush_cpu(0)
	fi
}
