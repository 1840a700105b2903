/* SPDX-License-Identifier: MIT */
#include "core/elf.h"

#include <elf.h>

#include "core/fmt.h"
#include "core/lib.h"
#include "core/xen_errno.h"

#include <xen/elfnote.h>
#include <xen/xen.h>

#define MAX_NOTES 256	       /* far above any kernel's */
#define MAX_PADDR (1ULL << 44) /* names fit 32 bits */

struct parse {
	const uint8_t *image;
	uint64_t size;
	struct elf_kernel *k;
	char *why;
	size_t why_len;
	/* From the notes. */
	uint64_t paddr_offset;
	bool has_entry, has_phys32, pv_refused;
	unsigned notes;
};

#define refuse(p, ...) (fmt_snprintf((p)->why, (p)->why_len, __VA_ARGS__), -XEN_ENOEXEC)

/* Whether [off, off+len) lies in the file. */
static bool in_file(const struct parse *p, uint64_t off, uint64_t len)
{
	return off <= p->size && len <= p->size - off;
}

static uint64_t note_int(const uint8_t *desc, uint32_t len)
{
	uint64_t v64;
	uint32_t v32;

	if (len == 8) {
		memcpy(&v64, desc, 8);
		return v64;
	}
	memcpy(&v32, desc, 4);
	return v32;
}

static bool desc_is(const uint8_t *desc, uint32_t len, const char *s)
{
	size_t n = strlen(s);

	return len >= n && memcmp(desc, s, n) == 0 && (len == n || desc[n] == 0);
}

static void note_guest_os(struct elf_kernel *k, const uint8_t *desc, uint32_t len)
{
	size_t n = 0;

	for (; n < len && n < sizeof(k->guest_os) - 1 && desc[n]; n++)
		k->guest_os[n] = desc[n] >= ' ' && desc[n] <= '~' ? (char)desc[n] : '?';
	k->guest_os[n] = 0;
}

/*
 * "a|!b|c": a name behind '!' is required. Linux requires writable_page_tables and yet runs
 * without; only what changes the kind of guest is refused.
 */
static void note_features(struct parse *p, const uint8_t *desc, uint32_t len)
{
	uint32_t i = 0;

	while (i < len && desc[i]) {
		uint32_t start = i;

		while (i < len && desc[i] && desc[i] != '|' && desc[i] != ' ')
			i++;
		if (desc_is(desc + start, i - start, "!auto_translated_physmap") ||
		    desc_is(desc + start, i - start, "!supervisor_mode_kernel"))
			p->pv_refused = true;
		if (i < len && desc[i])
			i++;
	}
}

static int one_note(struct parse *p, uint32_t type, const uint8_t *desc, uint32_t len)
{
	struct elf_kernel *k = p->k;
	uint64_t v = 0;

	switch (type) {
	case XEN_ELFNOTE_ENTRY:
	case XEN_ELFNOTE_VIRT_BASE:
	case XEN_ELFNOTE_PADDR_OFFSET:
	case XEN_ELFNOTE_HYPERCALL_PAGE:
	case XEN_ELFNOTE_INIT_P2M:
	case XEN_ELFNOTE_MOD_START_PFN:
	case XEN_ELFNOTE_SUSPEND_CANCEL:
	case XEN_ELFNOTE_PHYS32_ENTRY:
		if (len != 4 && len != 8)
			return refuse(p, "bad Xen ELF note %u: %u bytes, not an integer", type,
				      len);
		v = note_int(desc, len);
	}
	p->notes++;
	switch (type) {
	case XEN_ELFNOTE_ENTRY:
		k->entry = v;
		p->has_entry = true;
		break;
	case XEN_ELFNOTE_VIRT_BASE:
		k->virt_base = v;
		break;
	case XEN_ELFNOTE_PADDR_OFFSET:
		p->paddr_offset = v;
		break;
	case XEN_ELFNOTE_HYPERCALL_PAGE:
		k->hypercall_page = v;
		k->has_hypercall_page = true;
		break;
	case XEN_ELFNOTE_INIT_P2M:
		k->init_p2m = v;
		k->has_init_p2m = true;
		break;
	case XEN_ELFNOTE_MOD_START_PFN:
		k->mod_start_pfn = v != 0;
		break;
	case XEN_ELFNOTE_SUSPEND_CANCEL:
		k->suspend_cancel = v != 0;
		break;
	case XEN_ELFNOTE_PHYS32_ENTRY:
		p->has_phys32 = true;
		break;
	case XEN_ELFNOTE_GUEST_OS:
		note_guest_os(k, desc, len);
		break;
	case XEN_ELFNOTE_FEATURES:
		note_features(p, desc, len);
		break;
	case XEN_ELFNOTE_XEN_VERSION:
		if (!desc_is(desc, len, "xen-3.0"))
			return refuse(p, "kernel is for another Xen ABI than xen-3.0");
		break;
	default:
		break;
	}
	return 0;
}

/* All notes in [off, off+len) of the file, which the caller checked. */
static int note_range(struct parse *p, uint64_t off, uint64_t len)
{
	unsigned count = 0;

	while (len >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr n;
		uint64_t name_len, desc_len;
		const uint8_t *name = p->image + off + sizeof(n);

		memcpy(&n, p->image + off, sizeof(n));
		name_len = ROUND_UP((uint64_t)n.n_namesz, 4);
		desc_len = ROUND_UP((uint64_t)n.n_descsz, 4);
		len -= sizeof(n);
		if (name_len > len || n.n_descsz > len - name_len)
			return refuse(p, "bad ELF note at file offset %lu: runs past its segment",
				      (unsigned long)off);
		if (++count > MAX_NOTES)
			return refuse(p, "too many ELF notes");
		if (n.n_namesz == 4 && memcmp(name, "Xen", 4) == 0) {
			int rc = one_note(p, n.n_type, name + name_len, n.n_descsz);

			if (rc)
				return rc;
		}
		desc_len = MIN(desc_len, len - name_len); /* the last may lack its padding */
		off += sizeof(n) + name_len + desc_len;
		len -= name_len + desc_len;
	}
	return 0;
}

static int add_segment(struct parse *p, const Elf64_Phdr *ph, unsigned index)
{
	struct elf_kernel *k = p->k;
	struct elf_segment *s;

	if (ph->p_memsz == 0)
		return 0;
	if (ph->p_filesz > ph->p_memsz)
		return refuse(p, "segment %u: more bytes in the file than in memory", index);
	if (!in_file(p, ph->p_offset, ph->p_filesz))
		return refuse(p, "kernel is truncated: segment %u ends beyond its %lu bytes", index,
			      (unsigned long)p->size);
	if (ph->p_memsz > MAX_PADDR || ph->p_paddr > UINT64_MAX - ph->p_memsz)
		return refuse(p, "segment %u: addresses wrap or are oversized", index);
	if (k->nr_segments == ELF_MAX_SEGMENTS)
		return refuse(p, "more than %u segments", ELF_MAX_SEGMENTS);
	for (unsigned i = 0; i < k->nr_segments; i++) {
		s = &k->seg[i];
		if (ph->p_paddr < s->paddr + s->memsz && s->paddr < ph->p_paddr + ph->p_memsz)
			return refuse(p, "segment %u overlaps another", index);
	}
	s = &k->seg[k->nr_segments++];
	s->offset = ph->p_offset;
	s->filesz = ph->p_filesz;
	s->paddr = ph->p_paddr;
	s->memsz = ph->p_memsz;
	s->writable = (ph->p_flags & PF_W) != 0;
	return 0;
}

static int read_header(struct parse *p, Elf64_Ehdr *eh)
{
	if (p->size >= 2 && p->image[0] == 0x1f && p->image[1] == 0x8b)
		return refuse(p, "kernel is a gzip file, not ELF");
	if (p->size >= 0x206 && memcmp(p->image + 0x202, "HdrS", 4) == 0)
		return refuse(p, "kernel is a bzImage, not ELF: unpack its payload first");
	if (p->size < SELFMAG || memcmp(p->image, ELFMAG, SELFMAG) != 0)
		return refuse(p, "kernel is not an ELF file");
	if (p->size > EI_CLASS && p->image[EI_CLASS] == ELFCLASS32)
		return refuse(p, "kernel is 32-bit; only 64-bit PV kernels run here");
	if (p->size < sizeof(*eh))
		return refuse(p, "kernel is truncated: %lu bytes", (unsigned long)p->size);
	memcpy(eh, p->image, sizeof(*eh));
	if (eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_ident[EI_DATA] != ELFDATA2LSB ||
	    eh->e_machine != EM_X86_64)
		return refuse(p, "kernel is not an x86-64 ELF file");
	if (eh->e_type != ET_EXEC)
		return refuse(p, "kernel is not an ELF executable (type %u)", eh->e_type);
	if (eh->e_phnum == 0 || eh->e_phnum == PN_XNUM || eh->e_phentsize != sizeof(Elf64_Phdr))
		return refuse(p, "kernel has no usable program headers");
	if (!in_file(p, eh->e_phoff, (uint64_t)eh->e_phnum * sizeof(Elf64_Phdr)))
		return refuse(p, "kernel is truncated: program headers lie beyond its end");
	return 0;
}

static int read_program_headers(struct parse *p, const Elf64_Ehdr *eh)
{
	for (unsigned i = 0; i < eh->e_phnum; i++) {
		Elf64_Phdr ph;
		int rc = 0;

		memcpy(&ph, p->image + eh->e_phoff + i * sizeof(ph), sizeof(ph));
		if (ph.p_type == PT_LOAD) {
			rc = add_segment(p, &ph, i);
		} else if (ph.p_type == PT_NOTE) {
			if (!in_file(p, ph.p_offset, ph.p_filesz))
				return refuse(p,
					      "kernel is truncated: its notes lie beyond its end");
			rc = note_range(p, ph.p_offset, ph.p_filesz);
		}
		if (rc)
			return rc;
	}
	return 0;
}

/* Some kernels keep their notes in sections only. Bad section headers are no error: rarely used. */
static int read_note_sections(struct parse *p, const Elf64_Ehdr *eh)
{
	if (eh->e_shentsize != sizeof(Elf64_Shdr) ||
	    !in_file(p, eh->e_shoff, (uint64_t)eh->e_shnum * sizeof(Elf64_Shdr)))
		return 0;
	for (unsigned i = 0; i < eh->e_shnum; i++) {
		Elf64_Shdr sh;
		int rc;

		memcpy(&sh, p->image + eh->e_shoff + i * sizeof(sh), sizeof(sh));
		if (sh.sh_type != SHT_NOTE || !in_file(p, sh.sh_offset, sh.sh_size))
			continue;
		rc = note_range(p, sh.sh_offset, sh.sh_size);
		if (rc)
			return rc;
	}
	return 0;
}

/* Physical addresses become offsets into the domain's memory; virtual ones are checked. */
static int check_addresses(struct parse *p)
{
	struct elf_kernel *k = p->k;
	uint64_t last;

	k->kstart = UINT64_MAX;
	k->kend = 0;
	for (unsigned i = 0; i < k->nr_segments; i++) {
		struct elf_segment *s = &k->seg[i];

		if (s->paddr < p->paddr_offset || s->paddr - p->paddr_offset > MAX_PADDR)
			return refuse(p, "a segment's address %#lx is outside the domain's memory",
				      (unsigned long)s->paddr);
		s->paddr -= p->paddr_offset;
		k->kstart = MIN(k->kstart, s->paddr);
		k->kend = MAX(k->kend, s->paddr + s->memsz);
	}
	if (k->virt_base & ~PAGE_MASK)
		return refuse(p, "VIRT_BASE %#lx is not page-aligned", (unsigned long)k->virt_base);
	if (k->virt_base > UINT64_MAX - k->kend)
		return refuse(p, "the kernel's virtual addresses wrap");
	last = k->virt_base + k->kend - 1;
	if ((last < HYPERVISOR_VIRT_START && last >> 47) ||
	    (k->virt_base < HYPERVISOR_VIRT_START && k->virt_base >> 47) ||
	    (k->virt_base < HYPERVISOR_VIRT_END && last >= HYPERVISOR_VIRT_START))
		return refuse(p, "the kernel's virtual addresses %#lx to %#lx are not a guest's",
			      (unsigned long)k->virt_base, (unsigned long)last);
	if (k->entry < k->virt_base + k->kstart || k->entry > last)
		return refuse(p, "entry point %#lx is outside the kernel", (unsigned long)k->entry);
	if (k->has_hypercall_page &&
	    (k->hypercall_page & ~PAGE_MASK || k->hypercall_page < k->virt_base + k->kstart ||
	     k->hypercall_page > last || last - k->hypercall_page < PAGE_SIZE - 1))
		return refuse(p, "hypercall page %#lx is not a page of the kernel",
			      (unsigned long)k->hypercall_page);
	return 0;
}

int elf_parse(const void *image, uint64_t size, struct elf_kernel *k, char *why, size_t why_len)
{
	struct parse p = {.image = image, .size = size, .k = k, .why = why, .why_len = why_len};
	Elf64_Ehdr eh;
	int rc;

	memset(k, 0, sizeof(*k));
	k->image = image;
	k->size = size;
	rc = read_header(&p, &eh);
	if (!rc)
		rc = read_program_headers(&p, &eh);
	if (!rc && !p.notes)
		rc = read_note_sections(&p, &eh);
	if (rc)
		return rc;
	if (!p.notes)
		return refuse(&p, "kernel has no Xen ELF notes: it is not a Xen PV kernel");
	if (p.pv_refused || (p.has_phys32 && !p.has_entry))
		return refuse(&p, "kernel cannot run as a PV guest (PVH only)");
	if (k->nr_segments == 0)
		return refuse(&p, "kernel has nothing to load");
	if (!p.has_entry)
		k->entry = eh.e_entry;
	return check_addresses(&p);
}
