/* SPDX-License-Identifier: MIT */
/* Per-pCPU log rings and their one writer; see log.h. */
#include "percpu/log.h"

#include <ck_pr.h>

#include "core/fmt.h"
#include "core/lib.h"
#include "percpu/pcpu.h"

#define DRAIN_BATCH 64 /* records written before other work gets its turn */
#define WHO_MAX 32
#define RECORD_MAX 4096u
#define STREAM_LOG 0
#define STREAM_RECORDS 1

struct log_hdr {
	uint64_t ns;
	uint16_t len; /* of the text */
	uint8_t who_len;
	uint8_t stream;
	uint32_t pad;
};

/* The writer's own state: touched by pCPU 0 only, or by the panicking pCPU when all others stand. */
static struct {
	cpumask_t pending; /* rings that may hold something */
	bool draining;
	bool panicking;
} writer;

/*
 * log_ring.notify_state. The producer goes IDLE -> POSTED after it has published a record; the
 * writer goes POSTED -> RECEIVED when the message arrives and RECEIVED -> IDLE when it finds the
 * ring empty. So one message at most is in flight, and one per drain interval is sent.
 */
enum { NOTIFY_IDLE, NOTIFY_POSTED, NOTIFY_RECEIVED };

static void ring_put(struct log_ring *r, uint32_t pos, const void *src, uint32_t n)
{
	uint32_t at = pos % LOG_RING_SIZE;
	uint32_t first = MIN(n, LOG_RING_SIZE - at);

	memcpy(r->buf + at, src, first);
	memcpy(r->buf, (const uint8_t *)src + first, n - first);
}

static void ring_get(const struct log_ring *r, uint32_t pos, void *dst, uint32_t n)
{
	uint32_t at = pos % LOG_RING_SIZE;
	uint32_t first = MIN(n, LOG_RING_SIZE - at);

	memcpy(dst, r->buf + at, first);
	memcpy((uint8_t *)dst + first, r->buf, n - first);
}

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

	cpumask_set(&writer.pending, container_of(r, struct pcpu, log)->id);
	atomic_store_explicit(&r->notify_state, NOTIFY_RECEIVED, memory_order_relaxed);
	arm_drain(LOG_DRAIN_NS);
}

void log_init_pcpu(struct pcpu *p)
{
	p->log.notify.fn = notified;
	timer_init(&p->log.drain_timer, drain_tick);
	if (p->id == 0)
		memset(&writer, 0, sizeof(writer));
}

static bool ring_append(struct pcpu *p, unsigned stream, const char *who, const char *text,
			size_t len)
{
	struct log_ring *r = &p->log;
	struct log_hdr h = {arch_now_ns(), (uint16_t)len, (uint8_t)strnlen(who, WHO_MAX),
			    (uint8_t)stream, 0};
	uint32_t need = (uint32_t)(sizeof(h) + h.who_len + len);
	uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);

	if (head - r->seen_tail + need > LOG_RING_SIZE) {
		/* PAIRS: log_tail */
		r->seen_tail = atomic_load_explicit(&r->tail, memory_order_acquire);
		if (head - r->seen_tail + need > LOG_RING_SIZE)
			return false;
	}
	ring_put(r, head, &h, sizeof(h));
	ring_put(r, head + sizeof(h), who, h.who_len);
	ring_put(r, head + sizeof(h) + h.who_len, text, (uint32_t)len);
	/* PAIRS: log_head */
	atomic_store_explicit(&r->head, head + need, memory_order_release);

	/* PAIRS: log_notify: we publish, then look at the state; the writer does the reverse. */
	ck_pr_fence_memory();
	if (atomic_load_explicit(&r->notify_state, memory_order_acquire) == NOTIFY_IDLE) {
		atomic_store_explicit(&r->notify_state, NOTIFY_POSTED, memory_order_relaxed);
		inbox_post(0, &r->notify);
	}
	return true;
}

/* Write one record of ring @r, which has one. */
static void emit(struct log_ring *r)
{
	char line[RECORD_MAX + 64];
	char who[WHO_MAX + 1];
	struct log_hdr h;
	uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	size_t n = 0;

	ring_get(r, tail, &h, sizeof(h));
	ring_get(r, tail + sizeof(h), who, h.who_len);
	who[h.who_len] = '\0';
	if (h.stream == STREAM_LOG)
		n = (size_t)fmt_snprintf(line, 64, "[%5llu.%06llu] %s| ", h.ns / NS_PER_SEC,
					 h.ns % NS_PER_SEC / 1000, who);
	ring_get(r, tail + sizeof(h) + h.who_len, line + n, h.len);
	n += h.len;
	line[n++] = '\n';
	/* PAIRS: log_tail: the bytes have been copied out. */
	atomic_store_explicit(&r->tail, tail + (uint32_t)sizeof(h) + h.who_len + h.len,
			      memory_order_release);
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

static bool ring_empty(struct log_ring *r)
{
	/* PAIRS: log_head */
	return atomic_load_explicit(&r->head, memory_order_acquire) ==
	       atomic_load_explicit(&r->tail, memory_order_relaxed);
}

/* Take an empty ring off the list, unless it got something meanwhile. */
static void retire(struct log_ring *r, unsigned cpu)
{
	if (atomic_load_explicit(&r->notify_state, memory_order_relaxed) == NOTIFY_RECEIVED) {
		atomic_store_explicit(&r->notify_state, NOTIFY_IDLE, memory_order_release);
		/* PAIRS: log_notify */
		ck_pr_fence_memory();
	}
	if (ring_empty(r))
		cpumask_clear(&writer.pending, cpu);
}

/* The pending ring whose oldest record is the oldest of all; NULL when all are empty. */
static struct log_ring *oldest(void)
{
	struct log_ring *best = NULL;
	uint64_t best_ns = 0;
	unsigned cpu;

	for_each_cpu_in(cpu, &writer.pending)
	{
		struct log_ring *r = &pcpu_get(cpu)->log;
		struct log_hdr h;

		if (ring_empty(r)) {
			tell_lost(r, cpu);
			retire(r, cpu);
			if (!cpumask_test(&writer.pending, cpu))
				continue;
		}
		ring_get(r, atomic_load_explicit(&r->tail, memory_order_relaxed), &h, sizeof(h));
		if (!best || h.ns < best_ns) {
			best = r;
			best_ns = h.ns;
		}
	}
	return best;
}

bool log_drain(void)
{
	struct log_ring *r;
	bool left = true;

	if (this_pcpu()->id != 0 || writer.draining || writer.panicking)
		return false;
	writer.draining = true;
	for (unsigned n = 0; n < DRAIN_BATCH; n++) {
		r = oldest();
		if (!r) {
			left = false;
			break;
		}
		emit(r);
	}
	writer.draining = false;
	return left;
}

static void all_pending(void)
{
	for (unsigned i = 0; i < nr_pcpus(); i++)
		if (pcpu_get(i))
			cpumask_set(&writer.pending, i);
}

void log_flush(void)
{
	/* Also what has been written but whose notice has not been drained. */
	all_pending();
	while (log_drain())
		;
}

void log_panic_flush(void)
{
	struct log_ring *r;

	writer.panicking = true;
	all_pending();
	while ((r = oldest()) != NULL)
		emit(r);
}

/* pCPU 0 makes room in its own ring by writing it out at once. */
static bool append(unsigned stream, const char *who, const char *text, size_t len)
{
	struct pcpu *p = this_pcpu();

	if (ring_append(p, stream, who, text, len))
		return true;
	if (p->id != 0 || writer.draining || writer.panicking)
		return false;
	cpumask_set(&writer.pending, 0);
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

	len = MIN(len, sizeof(text) - 1);
	while (len && text[len - 1] == '\n')
		len--;
	if (!this_pcpu()) { /* early boot: one CPU, no rings yet */
		arch_console_write(STREAM_LOG, text, len);
		arch_console_write(STREAM_LOG, "\n", 1);
	} else if (!append(STREAM_LOG, "xylem", text, len)) {
		lose();
	}
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
