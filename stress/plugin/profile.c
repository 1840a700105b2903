/* SPDX-License-Identifier: MIT */
/* The profiler's plugin: arguments, translation, instructions, marks; see profile.h. */
#include "profile.h"

#include <arch/layout.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "qemu_plugin_api.h"

#define MARK_MAGIC 0x584d0000u
enum mark_kind { MARK_OPEN, MARK_CLOSE, MARK_FORGET, MARK_RECORD };

PLUGIN_EXPORT int qemu_plugin_version = PLUGIN_API_VERSION;
PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc,
				      char **argv);

struct prof_cpu prof_cpu[MAX_CPUS];
FILE *prof_out;

static bool follow_lines;
static uint64_t irq_start, irq_end;
static uint64_t entry_addr[MAX_OPS];
static unsigned top = 400;

/* What a block or an instruction's callback is told, in one word. */
enum space { SPACE_GUEST, SPACE_HV, SPACE_IRQ };

union told {
	struct {
		uint32_t code; /* of a mark, an entry */
		uint16_t n;    /* instructions of the block; those from this one on */
		uint8_t space;
	};
	void *word;
};
_Static_assert(sizeof(union told) == sizeof(void *), "fits a callback's argument");

static uint64_t *counter_of(struct tally *t, unsigned space, bool in_irq)
{
	return space == SPACE_GUEST ? &t->guest : in_irq ? &t->irq : &t->hv;
}

static void on_block(unsigned cpu, void *data)
{
	struct prof_cpu *c = &prof_cpu[cpu % MAX_CPUS];
	union told t = {.word = data};

	if (t.space == SPACE_GUEST) {
		c->in_irq = false;
		c->entry = 0;
	} else if (t.space == SPACE_IRQ) {
		c->in_irq = true;
		c->entry = 0;
	} else if (c->entry) {
		c->by_entry[c->entry].hv += t.n;
	}
	*counter_of(&c->now, t.space, c->in_irq) += t.n;
}

static void on_pause(unsigned cpu, void *data)
{
	struct prof_cpu *c = &prof_cpu[cpu % MAX_CPUS];
	union told t = {.word = data};
	uint64_t sum = c->now.guest + c->now.irq + c->now.hv - t.n;

	c->now.pauses++;
	if (sum - c->last_pause <= SPIN_GAP)
		c->now.spin += sum - c->last_pause;
	c->last_pause = sum;
}

static void on_entry(unsigned cpu, void *data)
{
	struct prof_cpu *c = &prof_cpu[cpu % MAX_CPUS];
	union told t = {.word = data};

	c->in_irq = false;
	c->entry = (int)t.code;
	c->by_entry[t.code].calls++;
	c->by_entry[t.code].hv += t.n;
}

/* ---- marks ---- */

static void tally_add(struct tally *to, const struct tally *a, const struct tally *minus)
{
	to->hv += a->hv - minus->hv;
	to->guest += a->guest - minus->guest;
	to->irq += a->irq - minus->irq;
	to->spin += a->spin - minus->spin;
	to->pauses += a->pauses - minus->pauses;
	to->transfers += a->transfers - minus->transfers;
	to->irq_transfers += a->irq_transfers - minus->irq_transfers;
}

static void forget_windows(void)
{
	for (unsigned i = 0; i < MAX_CPUS; i++) {
		memset(prof_cpu[i].windows, 0, sizeof(prof_cpu[i].windows));
		memset(prof_cpu[i].op, 0, sizeof(prof_cpu[i].op));
	}
}

static void write_tally(const struct tally *t)
{
	fprintf(prof_out,
		"\"hv\": %" PRIu64 ", \"guest\": %" PRIu64 ", \"irq\": %" PRIu64
		", \"spin\": %" PRIu64 ", \"pauses\": %" PRIu64 ", \"transfers\": %" PRIu64
		", \"irq_transfers\": %" PRIu64 "}\n",
		t->hv, t->guest, t->irq, t->spin, t->pauses, t->transfers, t->irq_transfers);
}

static void write_windows(int dump)
{
	for (unsigned i = 0; i < MAX_CPUS; i++) {
		for (unsigned op = 0; op < MAX_OPS; op++) {
			if (!prof_cpu[i].windows[op])
				continue;
			fprintf(prof_out,
				"{\"rec\": \"window\", \"dump\": %d, \"cpu\": %u, \"op\": %u, "
				"\"windows\": %" PRIu64 ", ",
				dump, i, op, prof_cpu[i].windows[op]);
			write_tally(&prof_cpu[i].op[op]);
		}
	}
}

static void on_mark(unsigned cpu, void *data)
{
	struct prof_cpu *c = &prof_cpu[cpu % MAX_CPUS];
	union told t = {.word = data};
	unsigned op = t.code & 0xfff;
	struct tally exact = c->now;

	*counter_of(&exact, t.space, c->in_irq) -= t.n;
	switch (t.code >> 12 & 0xf) {
	case MARK_OPEN:
		c->opened = exact;
		c->window = (int)(op % MAX_OPS);
		break;
	case MARK_CLOSE:
		if (c->window < 0)
			break;
		tally_add(&c->op[c->window], &exact, &c->opened);
		c->windows[c->window]++;
		c->window = -1;
		break;
	case MARK_FORGET:
	case MARK_RECORD: {
		bool record = (t.code >> 12 & 0xf) == MARK_RECORD;

		if (record)
			write_windows((int)op);
		if (follow_lines)
			lines_end_windows(record ? (int)op : -1);
		forget_windows();
		fflush(prof_out);
		break;
	}
	}
}

/* ---- memory ---- */

static void on_access(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t virt, void *data)
{
	struct qemu_plugin_hwaddr *hw = qemu_plugin_get_hwaddr(info, virt);

	if (!hw) {
		lines_lost_address();
		return;
	}
	if (qemu_plugin_hwaddr_is_io(hw))
		return;
	lines_access(cpu % MAX_CPUS, (uint64_t)data, virt, qemu_plugin_hwaddr_phys_addr(hw),
		     1u << qemu_plugin_mem_size_shift(info), qemu_plugin_mem_is_store(info));
}

/* ---- translation ---- */

static uint32_t mark_of(const struct qemu_plugin_insn *insn)
{
	const uint8_t *b = qemu_plugin_insn_data(insn);
	uint32_t imm;

	if (qemu_plugin_insn_size(insn) != 7 || b[0] != 0x0f || b[1] != 0x1f || b[2] != 0x80)
		return 0;
	memcpy(&imm, b + 3, 4);
	return (imm & 0xffff0000u) == MARK_MAGIC ? imm : 0;
}

static bool is_pause(const struct qemu_plugin_insn *insn)
{
	const uint8_t *b = qemu_plugin_insn_data(insn);

	return qemu_plugin_insn_size(insn) == 2 && b[0] == 0xf3 && b[1] == 0x90;
}

static enum space space_of(uint64_t va)
{
	if (va < HYP_VIRT_START || va >= HYP_VIRT_END)
		return SPACE_GUEST;
	return va >= irq_start && va < irq_end ? SPACE_IRQ : SPACE_HV;
}

static void instruction(struct qemu_plugin_insn *insn, union told t)
{
	uint64_t va = qemu_plugin_insn_vaddr(insn);
	uint32_t mark = mark_of(insn);

	if (mark) {
		t.code = mark & 0xffff;
		qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark, QEMU_PLUGIN_CB_NO_REGS,
						       t.word);
	}
	if (is_pause(insn))
		qemu_plugin_register_vcpu_insn_exec_cb(insn, on_pause, QEMU_PLUGIN_CB_NO_REGS,
						       t.word);
	if (t.space == SPACE_GUEST)
		return;
	for (unsigned k = 1; k < MAX_OPS; k++) {
		if (entry_addr[k] != va || !va)
			continue;
		t.code = k;
		qemu_plugin_register_vcpu_insn_exec_cb(insn, on_entry, QEMU_PLUGIN_CB_NO_REGS,
						       t.word);
	}
	if (follow_lines)
		qemu_plugin_register_vcpu_mem_cb(insn, on_access, QEMU_PLUGIN_CB_NO_REGS,
						 QEMU_PLUGIN_MEM_RW, (void *)va);
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);
	union told t = {.word = NULL};

	(void)id;
	if (!n)
		return;
	t.space = (uint8_t)space_of(qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, 0)));
	t.n = (uint16_t)n;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, t.word);
	for (size_t i = 0; i < n; i++) {
		t.n = (uint16_t)(n - i);
		instruction(qemu_plugin_tb_get_insn(tb, i), t);
	}
}

/* ---- begin and end ---- */

static void on_end(qemu_plugin_id_t id, void *data)
{
	(void)id;
	(void)data;
	write_windows(-1);
	for (unsigned i = 0; i < MAX_CPUS; i++) {
		const struct prof_cpu *c = &prof_cpu[i];

		if (!c->now.hv && !c->now.guest)
			continue;
		fprintf(prof_out, "{\"rec\": \"cpu\", \"cpu\": %u, ", i);
		write_tally(&c->now);
		for (unsigned k = 1; k < MAX_OPS; k++)
			if (c->by_entry[k].calls)
				fprintf(prof_out,
					"{\"rec\": \"entry\", \"entry\": %u, \"cpu\": %u, "
					"\"calls\": %" PRIu64 ", \"hv\": %" PRIu64
					", \"transfers\": %" PRIu64 "}\n",
					k, i, c->by_entry[k].calls, c->by_entry[k].hv,
					c->by_entry[k].transfers);
	}
	if (follow_lines)
		lines_finish(top);
	fclose(prof_out);
}

/* "HEX:NUMBER", the number to this base; false when it is not. */
static bool hex_pair(const char *text, uint64_t *a, uint64_t *b, int base_b)
{
	char *end;

	*a = strtoull(text, &end, 16);
	if (*end != ':')
		return false;
	*b = strtoull(end + 1, &end, base_b);
	return !*end;
}

static bool argument(const char *arg, const char **path, unsigned *bits)
{
	uint64_t a, b;

	if (!strncmp(arg, "out=", 4)) {
		*path = arg + 4;
		return true;
	}
	if (!strcmp(arg, "lines=on") || !strcmp(arg, "lines=off")) {
		follow_lines = !strcmp(arg, "lines=on");
		return true;
	}
	if (!strncmp(arg, "table=", 6)) {
		*bits = (unsigned)strtoul(arg + 6, NULL, 10);
		return *bits >= 10 && *bits <= 26;
	}
	if (!strncmp(arg, "top=", 4)) {
		top = (unsigned)strtoul(arg + 4, NULL, 10);
		return true;
	}
	if (!strncmp(arg, "memory=", 7))
		return memory_open(arg + 7);
	if (!strncmp(arg, "frames=", 7)) {
		memory_frames_at(strtoull(arg + 7, NULL, 16));
		return true;
	}
	if (!strncmp(arg, "irq=", 4))
		return hex_pair(arg + 4, &irq_start, &irq_end, 16);
	if (!strncmp(arg, "entry=", 6) && hex_pair(arg + 6, &a, &b, 10) && b && b < MAX_OPS) {
		entry_addr[b] = a;
		return true;
	}
	return false;
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
	const char *path = NULL;
	unsigned bits = 20;

	(void)info;
	for (int i = 0; i < argc; i++) {
		if (!argument(argv[i], &path, &bits)) {
			fprintf(stderr, "xylem_profile: bad argument '%s'\n", argv[i]);
			return -1;
		}
	}
	prof_out = path ? fopen(path, "w") : NULL;
	if (!prof_out) {
		fprintf(stderr, "xylem_profile: out=FILE: cannot write %s\n", path ? path : "");
		return -1;
	}
	if (follow_lines && !lines_init(bits)) {
		fprintf(stderr, "xylem_profile: no memory for 2^%u lines\n", bits);
		return -1;
	}
	for (unsigned i = 0; i < MAX_CPUS; i++)
		prof_cpu[i].window = -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
	qemu_plugin_register_atexit_cb(id, on_end, NULL);
	return 0;
}
