/* SPDX-License-Identifier: MIT */
/*
 * A look at the machine's memory, which QEMU keeps in a file for us: what a line holds, and what the
 * hypervisor's frame table says of its frame. The records are copied out as they are; who reads the
 * profile knows their layout.
 */
#include "profile.h"

#include <arch/layout.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORD 64u
#define FRAME_SHIFT 12

static const uint8_t *memory;
static uint64_t memory_size;
static uint64_t table_pointer; /* physical address of the hypervisor's `frame_table` */

void memory_frames_at(uint64_t phys)
{
	table_pointer = phys;
}

bool memory_open(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY);
	void *map;

	if (fd < 0)
		return false;
	if (fstat(fd, &st)) {
		close(fd);
		return false;
	}
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return false;
	memory = map;
	memory_size = (uint64_t)st.st_size;
	return true;
}

static bool peek(uint64_t phys, void *to, size_t n)
{
	if (!memory || phys > memory_size || memory_size - phys < n)
		return false;
	memcpy(to, memory + phys, n);
	return true;
}

/* The record of the frame that a direct-map address lies in. */
static bool frame_record(uint64_t virt, uint8_t record[RECORD])
{
	uint64_t table;

	return table_pointer && virt >= DIRECTMAP_VIRT && virt - DIRECTMAP_VIRT < memory_size &&
	       peek(table_pointer, &table, sizeof(table)) && table >= DIRECTMAP_VIRT &&
	       peek(table - DIRECTMAP_VIRT + ((virt - DIRECTMAP_VIRT) >> FRAME_SHIFT) * RECORD,
		    record, RECORD);
}

static void write_hex(const uint8_t *bytes)
{
	fputc('"', prof_out);
	for (unsigned i = 0; i < RECORD; i++)
		fprintf(prof_out, "%02x", bytes[i]);
	fputc('"', prof_out);
}

/* @bytes, and for each pointer in them the record of the frame it points to. */
static void write_both(const char *name, const uint8_t *bytes)
{
	const char *comma = "";

	fprintf(prof_out, ", \"%s\": ", name);
	write_hex(bytes);
	fprintf(prof_out, ", \"%s_to\": {", name);
	for (unsigned i = 0; i < RECORD; i += 8) {
		uint8_t record[RECORD];
		uint64_t word;

		memcpy(&word, bytes + i, 8);
		if (!frame_record(word, record))
			continue;
		fprintf(prof_out, "%s\"%u\": ", comma, i);
		write_hex(record);
		comma = ", ";
	}
	fputc('}', prof_out);
}

void memory_describe(uint64_t phys)
{
	uint8_t bytes[RECORD];

	if (peek(phys, bytes, RECORD))
		write_both("bytes", bytes);
	if (frame_record(DIRECTMAP_VIRT + phys, bytes))
		write_both("frame", bytes);
}
