/* SPDX-License-Identifier: MIT */
/*
 * The profiler: a TCG plugin for QEMU that counts instructions and follows cache lines.
 *
 *	-plugin libxylem_profile.so,out=FILE[,lines=on][,irq=START:END][,entry=ADDR:N]...
 *
 *	out=FILE	where the records go
 *	lines=on	follow the cache lines that hypervisor code touches (slow); else count only
 *	table=N		room for 2^N lines (20)
 *	irq=START:END	code that is executed first (and only) when an interrupt was taken: what
 *			follows, up to the next guest instruction, counts as interrupt handling
 *	entry=ADDR:N	where hypervisor work of kind N (1 to 255) begins: what follows, up to the
 *			next guest instruction, is attributed to it (and counts as interrupt
 *			handling no more)
 *	top=N		lines in the last record at most (400)
 *	memory=FILE	the machine's memory, as QEMU's memory-backend-file keeps it (below 2 GiB)
 *	frames=PHYS	where the hypervisor's pointer to its frame table is: lines are described
 *
 * All addresses are hexadecimal and virtual. Code in slots 256 to 271 of the address space is the
 * hypervisor's, all other is guests'. CPUs are QEMU's, which number as the pCPUs do.
 *
 * Marks. A guest (or the hypervisor) tells what it does by instructions that do nothing:
 *
 *	nopl 0x584dKNNN(%rax)		bytes 0f 1f 80, the number little-endian
 *
 *	K = 0	a window for operation NNN (0 to 255) opens on this CPU
 *	K = 1	it closes
 *	K = 2	all windows so far are forgotten
 *	K = 3	a record of all windows since the last record is written, with number NNN, and they
 *		are forgotten; on one CPU, while no window is open
 *
 * guest/rt/mark.h has functions for them.
 *
 * Records are JSON objects, one per line:
 *
 *	{"rec": "window", "dump": NNN or -1 (at exit), "cpu": C, "op": NNN, "windows": how many,
 *	 "hv", "guest", "irq": instructions in hypervisor code, guest code, interrupt handling,
 *	 "spin": those among them that wait: between two PAUSEs at most SPIN_GAP apart,
 *	 "pauses": PAUSE instructions, "transfers": lines that hypervisor code outside of interrupts
 *	 took from another CPU, "irq_transfers": and in interrupts}
 *	{"rec": "cpu", "cpu": C, "hv", "guest", "irq", "spin", "pauses", "transfers"}	at exit
 *	{"rec": "entry", "entry": N, "cpu": C, "calls", "hv", "transfers"}		at exit
 *	{"rec": "line", "dump": NNN, "phys": "0x...", "virt": "0x..." (one of its addresses),
 *	 "sides": [{"cpu": C, "r", "w": accesses in windows outside of interrupts,
 *	 "rmask", "wmask": which of the 64 bytes, "rpc", "wpc": instructions that did,
 *	 "irq_r", "irq_w": accesses in interrupts, "transfers"}], DESCRIPTION}
 *		each line that one CPU wrote and another read or wrote, both in windows
 *	{"rec": "hot", "phys", "virt", "transfers", "r", "w", "pc": who took it last,
 *	 "from": the write it was taken from, "rmask", "wmask", DESCRIPTION}
 *		at exit: most transferred lines
 *	{"rec": "seen", "phys", DESCRIPTION}	what a line that is transferred often was at that time
 *	{"rec": "lost", "lines": no room in the table, "addrs": without physical address}	at exit
 *
 * DESCRIPTION, with memory= and frames=: "bytes": the line's content, "frame": the frame table's
 * record of its frame; "bytes_to", "frame_to": for the pointers in these, by their offset, the
 * records of the frames they point to. All in hexadecimal digits, in the order of memory.
 *
 * "virt" and "pc" are 0x-strings. Guest code that faults is counted up to the end of its block. A
 * transfer is a read of a line that another CPU wrote last and this one has not read since, or a
 * write to one that another CPU has used since this one wrote it: the misses of a machine with
 * unbounded private caches. CPUs 4 apart share one entry of "sides".
 */
#ifndef STRESS_PLUGIN_PROFILE_H
#define STRESS_PLUGIN_PROFILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define MAX_CPUS 256
#define MAX_OPS 256
#define LINE_SIDES 4
#define SPIN_GAP 32

struct tally {
	uint64_t hv, guest, irq, spin, pauses, transfers, irq_transfers;
};

/* A CPU's own state; touched by its QEMU thread only, and by who writes a record. */
struct prof_cpu {
	struct tally now;
	uint64_t last_pause;
	bool in_irq;
	int entry;  /* of which kind the hypervisor's work is, 0: not told */
	int window; /* the operation, -1: none */
	struct tally opened;
	uint64_t windows[MAX_OPS];
	struct tally op[MAX_OPS];
	struct {
		uint64_t calls, hv, transfers;
	} by_entry[MAX_OPS];
} __attribute__((aligned(128)));

extern struct prof_cpu prof_cpu[MAX_CPUS];
extern FILE *prof_out;

/* Room for 2^bits lines; false: not enough memory. */
bool lines_init(unsigned bits);
/* Hypervisor code at @pc on @cpu accesses memory. */
void lines_access(unsigned cpu, uint64_t pc, uint64_t virt, uint64_t phys, unsigned size,
		  bool store);
/* The windows' lines are forgotten; with @dump >= 0 their shared lines are written out before. */
void lines_end_windows(int dump);
/* Write the most transferred lines out. */
void lines_finish(unsigned top);
void lines_lost_address(void);

bool memory_open(const char *path);
void memory_frames_at(uint64_t phys);
/* Write the DESCRIPTION of a line into the record that is being written. */
void memory_describe(uint64_t phys);

#endif
