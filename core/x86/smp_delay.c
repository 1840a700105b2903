/* SPDX-License-Identifier: MIT */
#include "core/x86/smp.h"

#include "core/lib.h"

bool smp_needs_init_delay(const char vendor[12], uint32_t leaf1_eax, uint32_t leaf1_ecx)
{
	unsigned family = leaf1_eax >> 8 & 15;

	if (leaf1_ecx & (1u << 31)) /* under a hypervisor: no wires to settle */
		return false;
	if (family == 15)
		family += leaf1_eax >> 20 & 255;
	if (!memcmp(vendor, "GenuineIntel", 12))
		return family != 6;
	if (!memcmp(vendor, "AuthenticAMD", 12))
		return family < 15;
	return true;
}
