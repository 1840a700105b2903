/* SPDX-License-Identifier: MIT */
/* Per-pCPU log rings and their one writer; see log.h. */
#include "percpu/log.h"

#include "core/fmt.h"
#include "core/lib.h"
#include "ioring/record_ring.h"
#include "percpu/pcpu.h"

#define DRAIN_BATCH 64 /* records written before other work gets its turn */
#define WHO_MAX 32
#define RECORD_MAX 4096u
#define STREAM_LOG 0
#define STREAM_RECORDS 1

struct log_hdr {
	uint64_t ns;
	uint32_t stream;
	uint32_t who_len; /* what is left of the record is the text */
};

/* The writer's own state: touched by pCPU 0 only, or by the panicking pCPU when all others stand. */
static struct {
	bool draining;
	bool panicking;
} CACHE_ALIGNED writer; /* beside it there may be what all pCPUs read */

/*
 * log_ring.notify_state. The producer goes IDLE -> POSTED after it has published a record; the
 * writer goes POSTED -> RECEIVED when the message arrives and RECEIVED -> IDLE when it finds the
 * ring empty. So one message at most is in flight, and one per drain interval is sent.
 */
enum { NOTIFY_IDLE, NOTIFY_POSTED, NOTIFY_RECEIVED };

static void arm_drain(uint64_t ns)
{
	struct timer *t = &this_pcpu()->log.drain_timer;

	if (!timer_armed(t))
		timer_arm(t, arch_now_ns() + ns);
}

static void drain_tick(struct timer *t, uint64_t now_ns)
{
	(void)t;
	(void)now_ns;
	if (log_drain())
		arm_drain(LOG_DRAIN_NS / 5);
}

static void notified(struct inbox_msg *m)
{
	struct log_ring *r = container_of(m, struct log_ring, notify);

	atomic_store_explicit(&r->notify_state, NOTIFY_RECEIVED, memory_order_relaxed);
	arm_drain(LOG_DRAIN_NS);
}

void log_init_pcpu(struct pcpu *p)
{
	struct log_ring *r = &p->log;

	r->notify.fn = notified;
	byte_ring_writer(&r->in, r->buf, sizeof(r->buf), &r->prod, &r->cons);
	byte_ring_reader(&r->out, r->buf, sizeof(r->buf), &r->prod, &r->cons);
	timer_init(&r->drain_timer, drain_tick);
	if (p->id == 0)
		memset(&writer, 0, sizeof(writer));
}

static bool ring_append(struct pcpu *p, unsigned stream, const char *who, const char *text,
			size_t len)
{
	struct log_ring *r = &p->log;
	struct log_hdr h = {arch_now_ns(), stream, (uint32_t)strnlen(who, WHO_MAX)};
	const struct record_piece record[] = {
		{&h, sizeof(h)}, {who, h.who_len}, {text, (uint32_t)len}};

	if (!record_ring_put(&r->in, record, ARRAY_SIZE(record)))
		return false;
	/* PAIRS: log_notify */
	if (atomic_load(&r->notify_state) == NOTIFY_IDLE) {
		atomic_store_explicit(&r->notify_state, NOTIFY_POSTED, memory_order_relaxed);
		inbox_post(0, &r->notify);
	}
	return true;
}

/* Write the oldest record of ring @r, which has one of @len bytes. */
static void emit(struct log_ring *r, long len)
{
	char line[RECORD_MAX + 64];
	char who[WHO_MAX + 1];
	struct log_hdr h;
	uint32_t text;
	size_t n = 0;

	record_ring_copy(&r->out, 0, &h, sizeof(h));
	record_ring_copy(&r->out, sizeof(h), who, h.who_len);
	who[h.who_len] = '\0';
	if (h.stream == STREAM_LOG)
		n = (size_t)fmt_snprintf(line, 64, "[%5llu.%06llu] %s| ", h.ns / NS_PER_SEC,
					 h.ns % NS_PER_SEC / 1000, who);
	text = (uint32_t)len - (uint32_t)sizeof(h) - h.who_len;
	record_ring_copy(&r->out, (uint32_t)sizeof(h) + h.who_len, line + n, text);
	n += text;
	line[n++] = '\n';
	record_ring_take(&r->out, len);
	arch_console_write(h.stream, line, n);
}

static void tell_lost(struct log_ring *r, unsigned cpu)
{
	uint32_t lost = atomic_load_explicit(&r->lost, memory_order_relaxed);
	char line[96];
	int n;

	if (lost == r->lost_told)
		return;
	n = fmt_snprintf(line, sizeof(line), "xylem| %u messages of cpu %u were lost\n",
			 lost - r->lost_told, cpu);
	r->lost_told = lost;
	arch_console_write(STREAM_LOG, line, (size_t)n);
}

/* From now on the pCPU of ring @r, found empty, sends a notice again. */
static void rest(struct log_ring *r)
{
	if (atomic_load_explicit(&r->notify_state, memory_order_relaxed) == NOTIFY_RECEIVED)
		atomic_store(&r->notify_state, NOTIFY_IDLE); /* PAIRS: log_notify */
}

/* The ring whose oldest record is the oldest of all now; NULL when all are empty. */
static struct log_ring *look(void)
{
	struct log_ring *best = NULL;
	uint64_t best_ns = 0;

	for (unsigned cpu = 0; cpu < nr_pcpus(); cpu++) {
		struct pcpu *p = pcpu_get(cpu);
		struct log_ring *r;
		struct log_hdr h;

		if (!p)
			continue;
		r = &p->log;
		if (record_ring_next(&r->out) <= 0) {
			tell_lost(r, cpu);
			rest(r);
			/* PAIRS: log_notify */
			if (record_ring_next(&r->out) <= 0)
				continue;
		}
		record_ring_copy(&r->out, 0, &h, sizeof(h));
		if (!best || h.ns < best_ns) {
			best = r;
			best_ns = h.ns;
		}
	}
	return best;
}

/* Write the oldest record of all; false when there is none. */
static bool emit_oldest(void)
{
	struct log_ring *r = look(), *again;

	/* An older one may have come into a ring already passed: see "Order" in log.h. */
	while (r && (again = look()) != r)
		r = again;
	if (r)
		emit(r, record_ring_next(&r->out));
	return r != NULL;
}

bool log_drain(void)
{
	bool left = true;

	if (this_pcpu()->id != 0 || writer.draining || writer.panicking)
		return false;
	writer.draining = true;
	for (unsigned n = 0; n < DRAIN_BATCH && left; n++)
		left = emit_oldest();
	writer.draining = false;
	return left;
}

void log_flush(void)
{
	while (log_drain())
		;
}

void log_panic_flush(void)
{
	writer.panicking = true;
	while (emit_oldest())
		;
}

/* pCPU 0 makes room in its own ring by writing out at once, from all rings in order. */
static bool append(unsigned stream, const char *who, const char *text, size_t len)
{
	struct pcpu *p = this_pcpu();

	if (ring_append(p, stream, who, text, len))
		return true;
	if (p->id != 0 || writer.draining || writer.panicking)
		return false;
	log_drain();
	return ring_append(p, stream, who, text, len);
}

static void lose(void)
{
	struct log_ring *r = &this_pcpu()->log;

	atomic_store_explicit(&r->lost, atomic_load_explicit(&r->lost, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

void vprintk(const char *fmt, va_list ap)
{
	char text[LOG_LINE_MAX];
	size_t len = (size_t)fmt_vsnprintf(text, sizeof(text), fmt, ap);
	bool done, more = true;

	len = MIN(len, sizeof(text) - 1);
	while (len && text[len - 1] == '\n')
		len--;
	if (!this_pcpu()) { /* early boot: one CPU, no rings yet */
		arch_console_write(STREAM_LOG, text, len);
		arch_console_write(STREAM_LOG, "\n", 1);
		return;
	}
	/* Who cannot try again later lets pCPU 0 write out all that is older. */
	while (!(done = append(STREAM_LOG, "xylem", text, len)) && more)
		more = log_drain();
	if (!done)
		lose();
}

void printk(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintk(fmt, ap);
	va_end(ap);
}

bool log_guest_line(const char *name, const char *text, size_t len)
{
	char clean[LOG_LINE_MAX];

	len = MIN(len, sizeof(clean));
	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)text[i];

		clean[i] = (c < 0x20 && c != '\t') || c == 0x7f ? '.' : text[i];
	}
	return append(STREAM_LOG, name, clean, len);
}

bool record_printf(const char *fmt, ...)
{
	char text[RECORD_MAX];
	va_list ap;
	size_t len;

	va_start(ap, fmt);
	len = (size_t)fmt_vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return len < sizeof(text) && append(STREAM_RECORDS, "", text, len);
}

char *log_json_escape(char *dst, size_t size, const char *src)
{
	size_t n = 0;

	for (; *src; src++) {
		uint8_t c = (uint8_t)*src;
		char esc[8] = {(char)c};

		if (c == '"' || c == '\\')
			fmt_snprintf(esc, sizeof(esc), "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			fmt_snprintf(esc, sizeof(esc), "\\u%04x", c);
		if (n + strlen(esc) >= size)
			break;
		n += str_copy(dst + n, esc, size - n);
	}
	dst[n] = '\0';
	return dst;
}
