/* SPDX-License-Identifier: MIT */
#include <stdint.h>
__attribute__((section(".user.head"))) void user_start(uint64_t a, uint64_t b);
void user_start(uint64_t a, uint64_t b)
{
	for (;;)
		__asm__ volatile("syscall" : "+a"(a) : "D"(b) : "rcx", "r11", "memory");
}
