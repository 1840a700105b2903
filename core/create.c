/* SPDX-License-Identifier: MIT */
#include "core/create.h"

#include "core/arch.h"
#include "core/builder.h"
#include "core/domains.h"
#include "core/fmt.h"
#include "core/lib.h"
#include "core/stats.h"
#include "core/xen_errno.h"
#include "percpu/log.h"

#define RETRY_NS (5 * NS_PER_MS) /* while others are made to give up memory, or the log is full */
#define GIVE_UP_NS (5 * NS_PER_SEC)

/*
 * One page from the request until the domain's `end` record is out. It has two users: who builds
 * and answers, on one pCPU, and the domain's record, used by the teardown on another. The last one
 * sends the page to pCPU 0, which owns the list and frees it.
 */
struct creation {
	struct creation *next; /* pCPU 0's */
	struct inbox_msg msg;
	struct timer timer;
	struct guest_config guest;
	struct guest_record record;
	uint64_t id; /* of the control line */
	uint64_t give_up_ns;
	bool done, failed;
	char why[96];
	_Atomic unsigned users;
};
_Static_assert(sizeof(struct creation) <= PAGE_SIZE, "a creation is one page");

static struct {
	struct creation *list; /* pCPU 0's */
	unsigned next_cpu;
	_Atomic unsigned failures;
} made;

void create_start(void)
{
	memset(&made, 0, sizeof(made));
}

unsigned create_failures(void)
{
	return atomic_load(&made.failures);
}

unsigned create_alive(void)
{
	unsigned n = 0;

	for (const struct creation *c = made.list; c; c = c->next)
		n++;
	return n;
}

static void free_message(struct inbox_msg *msg)
{
	struct creation *c = container_of(msg, struct creation, msg);
	struct creation **at = &made.list;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	page_free(arch_virt_to_mfn(c));
}

static void put(struct creation *c)
{
	/* Release what this user did, acquire what the other one did. */
	if (atomic_fetch_sub(&c->users, 1) != 1)
		return;
	c->msg.fn = free_message;
	inbox_post(0, &c->msg);
}

static void record_gone(struct guest_record *r)
{
	struct creation *c = container_of(r, struct creation, record);

	if (r->end != END_OFF && r->end != END_DESTROYED)
		atomic_fetch_add(&made.failures, 1);
	put(c);
}

static void started(struct creation *c, struct domain *d)
{
	struct guest_record *r = &c->record;

	str_copy(r->name, d->name, sizeof(r->name));
	str_copy(r->kind, d->kind, sizeof(r->kind));
	r->vcpus = d->max_vcpus;
	r->mem_kib = c->guest.mem_bytes >> 10;
	r->gone = record_gone;
	atomic_fetch_add(&c->users, 1);
	domains_start(d, r);
}

/* False: there is no memory for it now, and more may come. */
static bool build(struct creation *c, uint64_t now)
{
	struct domain *d;
	int rc = -XEN_EAGAIN;

	if (domains_ending())
		str_copy(c->why, "the machine is ending", sizeof(c->why));
	else
		rc = domains_build(&c->guest, &d, c->why, sizeof(c->why));
	if (!rc)
		started(c, d);
	else if (rc == -XEN_EAGAIN && now < c->give_up_ns && !domains_ending())
		return false;
	c->failed = rc != 0;
	return true;
}

/* False: the record stream has no room. */
static bool answer(struct creation *c)
{
	char text[2 * sizeof(c->why)];

	if (!c->failed)
		return record_printf("{\"ev\":\"ctl\",\"id\":%lu,\"ok\":true}",
				     (unsigned long)c->id);
	return record_printf(
		"{\"ev\":\"ctl\",\"id\":%lu,\"ok\":false,\"error\":\"create: %s: %s\"}",
		(unsigned long)c->id, c->guest.name, log_json_escape(text, sizeof(text), c->why));
}

static void step(struct timer *t, uint64_t now)
{
	struct creation *c = container_of(t, struct creation, timer);

	if (!c->done)
		c->done = build(c, now);
	if (!c->done || !answer(c)) {
		timer_arm(t, arch_now_ns() + RETRY_NS);
		return;
	}
	put(c);
	domains_release();
}

static void begin(struct inbox_msg *msg)
{
	struct creation *c = container_of(msg, struct creation, msg);

	timer_init(&c->timer, step);
	timer_arm(&c->timer, arch_now_ns());
}

static int refuse(char *why, size_t len, int err, const char *text, const char *word)
{
	fmt_snprintf(why, len, text, word);
	return -err;
}

static bool add_words(struct guest_config *g, char *const words[], unsigned n)
{
	size_t len = strlen(g->cmdline);

	for (unsigned i = 0; i < n; i++) {
		size_t more = strlen(words[i]);

		if (len + more + 2 > sizeof(g->cmdline))
			return false;
		g->cmdline[len++] = ' ';
		memcpy(g->cmdline + len, words[i], more + 1);
		len += more;
	}
	return true;
}

static bool name_taken(const char *name)
{
	for (const struct creation *c = made.list; c; c = c->next)
		if (strcmp(c->guest.name, name) == 0)
			return true;
	return domains_configured(name);
}

static int make(uint64_t id, const char *name, const struct guest_config *like, char *const words[],
		unsigned n, char *why, size_t why_len)
{
	mfn_t page = page_alloc(PAGE_ALLOC_ZERO);
	struct creation *c;

	if (!mfn_valid_value(page))
		return refuse(why, why_len, XEN_ENOMEM, "%s: not enough host memory", name);
	c = arch_mfn_to_virt(page);
	c->guest = *like;
	str_copy(c->guest.name, name, sizeof(c->guest.name));
	if (!add_words(&c->guest, words, n)) {
		page_free(page);
		return refuse(why, why_len, XEN_EINVAL, "%s: its command line is too long", name);
	}
	c->id = id;
	c->give_up_ns = arch_now_ns() + GIVE_UP_NS;
	atomic_init(&c->users, 1);
	c->msg.fn = begin;
	c->next = made.list;
	made.list = c;
	inbox_post(made.next_cpu++ % nr_pcpus(), &c->msg);
	return 0;
}

int create_request(uint64_t id, const char *name, const char *like, char *const words[], unsigned n,
		   char *why, size_t why_len)
{
	const struct guest_config *g;
	int rc;

	if (!config_name_ok(name) || strlen(name) >= CONFIG_NAME_MAX || !strcmp(name, "xylem"))
		return refuse(why, why_len, XEN_EINVAL, "'%s' is not a guest's name", name);
	if (name_taken(name))
		return refuse(why, why_len, XEN_EEXIST, "there is a guest called '%s'", name);
	g = domains_config(like);
	if (!g)
		return refuse(why, why_len, XEN_ENOENT,
			      "no guest of the configuration is called '%s'", like);
	if (!domains_hold())
		return refuse(why, why_len, XEN_EAGAIN, "%s: the machine is ending", name);
	rc = make(id, name, g, words, n, why, why_len);
	if (rc)
		domains_release();
	return rc;
}

int create_destroy(const char *name)
{
	struct domain *d = domain_by_name(name);

	if (!d)
		return -XEN_ESRCH;
	domain_end(d, END_DESTROYED, "destroyed on request");
	return 0;
}
