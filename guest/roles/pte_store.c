/* SPDX-License-Identifier: MIT */
/* The instructions kernels change page-table entries with, as trapped stores. */
#include "roles/mem.h"
#include "rt/role.h"
#include "rt/trap.h"

pte_t pte_store(pte_t *e, pte_t val, enum pte_store how)
{
	unsigned long st = 0;
	pte_t out = 0;

	switch (how) {
	case STORE_MOV:
		st = PROBE("movq %1, (%2)", "r"(val), "r"(e));
		break;
	case STORE_XCHG: {
		register unsigned long s __asm__("r15") = 0;

		out = val;
		__asm__ volatile("1: xchgq %1, (%2)\n2:\n"
				 ".pushsection .ex_table,\"a\"\n.quad 1b,2b\n.popsection"
				 : "+r"(s), "+r"(out)
				 : "r"(e)
				 : "memory");
		st = s;
		break;
	}
	case STORE_CMPXCHG: {
		register unsigned long s __asm__("r15") = 0;
		bool done;

		do {
			pte_t old = *(volatile pte_t *)e;

			out = old;
			__asm__ volatile("1: lock cmpxchgq %3, (%4)\n2:\n"
					 ".pushsection .ex_table,\"a\"\n.quad 1b,2b\n.popsection"
					 : "+r"(s), "+a"(out), "=@ccz"(done)
					 : "r"(val), "r"(e)
					 : "memory");
			CHECK(done == (out == old) || s, "cmpxchg's ZF and rax disagree");
		} while (!s && !done);
		st = s;
		break;
	}
	case STORE_BTR: {
		register unsigned long s __asm__("r15") = 0;
		bool was, had = *e >> 1 & 1;

		__asm__ volatile("1: lock btrq $1, (%2)\n2:\n"
				 ".pushsection .ex_table,\"a\"\n.quad 1b,2b\n.popsection"
				 : "+r"(s), "=@ccc"(was)
				 : "r"(e)
				 : "memory");
		CHECK(s || was == had, "btr's CF");
		st = s;
		break;
	}
	case STORE_ANDB:
		st = PROBE("lock andb $0xfd, (%1)", "r"(e));
		break;
	case STORE_IMM0:
		st = PROBE("movq $0, (%1)", "r"(e));
		break;
	default:
		break;
	}
	CHECK_EQ(st, 0, "trapped page-table store");
	return out;
}
