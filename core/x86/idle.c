/* SPDX-License-Identifier: MIT */
#include "core/arch.h"

/* STI takes effect after the next instruction, so an interrupt sent since the last look wakes HLT. */
void arch_idle(void)
{
	__asm__ volatile("sti\n\thlt\n\tcli" ::: "memory");
}
