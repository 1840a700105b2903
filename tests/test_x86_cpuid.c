/* SPDX-License-Identifier: MIT */
/* CPUID policy: on a CPU that claims every feature there is, and on this machine's. */
#include <criterion/criterion.h>

#include <string.h>

#include "core/x86/cpuid.h"

static const char *vendor = "GenuineIntel";

/* All ones wherever a feature could be. */
static void hw_everything(uint32_t leaf, uint32_t sub, struct cpuid_leaf *l)
{
	*l = (struct cpuid_leaf){~0u, ~0u, ~0u, ~0u};
	if (leaf == 0) {
		l->a = 0x20;
		memcpy(&l->b, vendor, 4);
		memcpy(&l->d, vendor + 4, 4);
		memcpy(&l->c, vendor + 8, 4);
	} else if (leaf == 0x80000000) {
		l->a = 0x80000021;
	} else if (leaf == 7 && sub == 0) {
		l->a = 2;
	} else if (leaf == 4) {
		l->a = sub < 4 ? 0xfc000001 | (sub + 1 > 2 ? 3 : 1) << 5 : 0;
	} else if (leaf == 0xd && sub >= 2) { /* sizes and offsets of a real AVX-512 machine */
		static const uint32_t size[] = {256, 64, 64, 64, 512, 1024};
		static const uint32_t offset[] = {576, 960, 1024, 1088, 1152, 1664};

		l->a = sub < 8 ? size[sub - 2] : 8;
		l->b = sub < 8 ? offset[sub - 2] : 2688;
		l->c = sub == 6 ? 2 : 0;
		l->d = 0;
	}
}

static struct cpuid_guest guest = {
	.vcpu = 3,
	.max_vcpus = 6,
	.xcr0 = 7,
	.xcr0_max = 0xe7,
	.cr4 = 1u << 18,
	.tsc_hz = 2500000000,
	.tsc = {0xdeadbeef, -2, 0x123456789abcULL},
	.hw = hw_everything,
};

static bool bit(uint32_t v, unsigned n)
{
	return v >> n & 1;
}

Test(x86_cpuid, hidden_from_leaf_1)
{
	/* DTES64 MWAIT DS-CPL VMX SMX EST TM2 CNXT SDBG xTPR PDCM PCID DCA X2APIC TSC-deadline */
	static const uint8_t ecx[] = {2, 3, 4, 5, 6, 7, 8, 10, 11, 14, 15, 17, 18, 21, 24};
	/* VME PSE MCE SEP MTRR PGE MCA PSE36 PSN DS ACPI SS TM PBE */
	static const uint8_t edx[] = {1, 3, 7, 11, 12, 13, 14, 17, 18, 21, 22, 27, 29, 31};
	struct cpuid_leaf l = cpuid_policy(&guest, 1, 0);

	for (size_t i = 0; i < ARRAY_SIZE(ecx); i++)
		cr_assert_not(bit(l.c, ecx[i]), "ecx bit %u", ecx[i]);
	for (size_t i = 0; i < ARRAY_SIZE(edx); i++)
		cr_assert_not(bit(l.d, edx[i]), "edx bit %u", edx[i]);
	cr_assert(bit(l.c, 31)); /* hypervisor */
	cr_assert(bit(l.c, 28)); /* AVX */
	cr_assert(bit(l.d, 26)); /* SSE2 */
	cr_assert(bit(l.d, 9));	 /* APIC */
}

Test(x86_cpuid, hidden_from_leaf_7)
{
	/* SMEP INVPCID RTM PQM MPX PQE SMAP PT, HLE */
	static const uint8_t ebx[] = {7, 10, 11, 12, 14, 15, 20, 25, 4};
	/* UMIP PKU OSPKE WAITPKG CET-SS LA57 RDPID KL ENQCMD PKS */
	static const uint8_t ecx[] = {2, 3, 4, 5, 7, 16, 22, 23, 29, 31};
	struct cpuid_leaf l = cpuid_policy(&guest, 7, 0);

	for (size_t i = 0; i < ARRAY_SIZE(ebx); i++)
		cr_assert_not(bit(l.b, ebx[i]), "ebx bit %u", ebx[i]);
	for (size_t i = 0; i < ARRAY_SIZE(ecx); i++)
		cr_assert_not(bit(l.c, ecx[i]), "ecx bit %u", ecx[i]);
	cr_assert_eq(l.d & 0xfc000000, 0); /* speculation controls */
	cr_assert(bit(l.b, 5));		   /* AVX2 */
	cr_assert(bit(l.b, 16));	   /* AVX-512F */
	cr_assert_eq(l.a, 1);
	l = cpuid_policy(&guest, 7, 1);
	cr_assert_eq(l.b | l.c | l.d, 0);
	l = cpuid_policy(&guest, 7, 2);
	cr_assert_eq(l.a | l.b | l.c | l.d, 0);
}

Test(x86_cpuid, vector_features_follow_xcr0)
{
	struct cpuid_guest g = guest;

	g.xcr0_max = 7;
	cr_assert_not(bit(cpuid_policy(&g, 7, 0).b, 16));
	cr_assert(bit(cpuid_policy(&g, 7, 0).b, 5));
	g.xcr0_max = 3;
	cr_assert_not(bit(cpuid_policy(&g, 7, 0).b, 5));
	cr_assert_not(bit(cpuid_policy(&g, 1, 0).c, 28));
	g.xcr0_max = 0;
	cr_assert_not(bit(cpuid_policy(&g, 1, 0).c, 26));
	cr_assert_not(bit(cpuid_policy(&g, 1, 0).c, 27));
	cr_assert_eq(cpuid_policy(&g, 0xd, 0).a, 0);
}

/* Linux asks for it before it sets its CR4. */
Test(x86_cpuid, osxsave_is_shown_without_cr4)
{
	struct cpuid_guest g = guest;

	g.cr4 = 0;
	cr_assert(bit(cpuid_policy(&g, 1, 0).c, 27));
	g.xcr0_max = 0;
	cr_assert_not(bit(cpuid_policy(&g, 1, 0).c, 27));
}

Test(x86_cpuid, xsave_leaf)
{
	struct cpuid_leaf l = cpuid_policy(&guest, 0xd, 0);

	cr_assert_eq(l.a, 0xe7);
	cr_assert_eq(l.b, 832);	 /* x87, SSE, AVX */
	cr_assert_eq(l.c, 2688); /* all */
	cr_assert_eq(l.d, 0);
	l = cpuid_policy(&guest, 0xd, 1);
	cr_assert_eq(l.a, 7); /* no XSAVES */
	cr_assert_eq(l.b, 832);
	cr_assert_eq(l.c | l.d, 0);
	cr_assert_eq(cpuid_policy(&guest, 0xd, 2).a, 256);
	cr_assert_eq(cpuid_policy(&guest, 0xd, 3).a, 0); /* MPX */
	cr_assert_eq(cpuid_policy(&guest, 0xd, 9).a, 0); /* PKRU */
}

Test(x86_cpuid, topology)
{
	struct cpuid_leaf l = cpuid_policy(&guest, 1, 0);

	cr_assert_eq(l.b >> 24, 3);
	cr_assert_eq(l.b >> 16 & 0xff, 6);
	cr_assert(bit(l.d, 28));
	l = cpuid_policy(&guest, 0xb, 0);
	cr_assert_eq(l.a, 0);
	cr_assert_eq(l.b, 1);
	cr_assert_eq(l.c, 0x100);
	cr_assert_eq(l.d, 3);
	l = cpuid_policy(&guest, 0xb, 1);
	cr_assert_eq(l.a, 3); /* 6 cores take 3 bits */
	cr_assert_eq(l.b, 6);
	cr_assert_eq(l.c, 0x201);
	l = cpuid_policy(&guest, 0xb, 2);
	cr_assert_eq(l.b, 0);
	cr_assert_eq(l.c, 2);
	l = cpuid_policy(&guest, 4, 0);
	cr_assert_eq(l.a >> 26, 7);	    /* room for 8 cores */
	cr_assert_eq(l.a >> 14 & 0xfff, 0); /* L1 is private */
	l = cpuid_policy(&guest, 4, 2);
	cr_assert_eq(l.a >> 14 & 0xfff, 7); /* L3 is shared */

	struct cpuid_guest g = guest;

	g.max_vcpus = 1;
	g.vcpu = 0;
	cr_assert_not(bit(cpuid_policy(&g, 1, 0).d, 28));
	g.max_vcpus = 128;
	cr_assert_eq(cpuid_policy(&g, 1, 0).b >> 16 & 0xff, 128);
	cr_assert_eq(cpuid_policy(&g, 0xb, 1).a, 7);
}

Test(x86_cpuid, amd)
{
	vendor = "AuthenticAMD";
	struct cpuid_leaf l = cpuid_policy(&guest, 0x80000001, 0);

	cr_assert_not(bit(l.c, 2));  /* SVM */
	cr_assert_not(bit(l.c, 3));  /* extended APIC space */
	cr_assert_not(bit(l.c, 22)); /* topology extensions */
	cr_assert(bit(l.c, 1));	     /* CMP_LEGACY */
	cr_assert_not(bit(l.d, 26)); /* 1 GiB pages */
	cr_assert_not(bit(l.d, 27)); /* RDTSCP: TSC_AUX is not the guest's */
	cr_assert_not(bit(l.d, 3));  /* PSE, AMD's copy */
	cr_assert_not(bit(l.d, 13)); /* PGE */
	cr_assert(bit(l.d, 25) == 0);
	cr_assert(bit(l.d, 29)); /* LM */
	cr_assert(bit(l.d, 11)); /* SYSCALL */
	cr_assert(bit(l.d, 20)); /* NX */
	l = cpuid_policy(&guest, 0x80000008, 0);
	cr_assert_eq(l.c, 3 << 12 | 5);
	l = cpuid_policy(&guest, 0x8000000a, 0); /* SVM's leaf */
	cr_assert_eq(l.a | l.b | l.c | l.d, 0);
}

Test(x86_cpuid, leaves_that_must_be_empty)
{
	static const uint32_t leaves[] = {
		3,	    5,		6,	    9,		0xa,	    0xc,       0xe,
		0xf,	    0x10,	0x12,	    0x14,	0x15,	    0x1f,      0x40000006,
		0x40000100, 0x4fffffff, 0x80000009, 0x8000001e, 0xc0000000, 0xffffffff};

	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++) {
		struct cpuid_leaf l = cpuid_policy(&guest, leaves[i], 0);

		cr_assert_eq(l.a | l.b | l.c | l.d, 0, "leaf %x", leaves[i]);
	}
}

Test(x86_cpuid, xen_leaves)
{
	struct cpuid_leaf l = cpuid_policy(&guest, 0x40000000, 0);
	char sig[13] = "";

	memcpy(sig, &l.b, 4);
	memcpy(sig + 4, &l.c, 4);
	memcpy(sig + 8, &l.d, 4);
	cr_assert_str_eq(sig, "XenVMMXenVMM");
	cr_assert_eq(l.a, 0x40000005);
	cr_assert_eq(cpuid_policy(&guest, 0x40000001, 0).a, 4 << 16 | 17);
	l = cpuid_policy(&guest, 0x40000002, 0);
	cr_assert_eq(l.a, 1);
	cr_assert_eq(l.b, 0x40000000);
	cr_assert_eq(l.c, 1);
	l = cpuid_policy(&guest, 0x40000003, 0);
	cr_assert_eq(l.c, 2500000);
	l = cpuid_policy(&guest, 0x40000003, 1);
	cr_assert_eq(l.a, 0x56789abc);
	cr_assert_eq(l.b, 0x1234);
	cr_assert_eq(l.c, 0xdeadbeef);
	cr_assert_eq((int32_t)l.d, -2);
	cr_assert_eq(cpuid_policy(&guest, 0x40000005, 0).b, 44);
}

/* What the hardware answers beyond its last leaf is not to be believed. */
static void hw_old(uint32_t leaf, uint32_t sub, struct cpuid_leaf *l)
{
	hw_everything(leaf, sub, l);
	if (leaf == 0)
		l->a = 1;
	else if (leaf == 0x80000000)
		l->a = 0x80000001;
}

Test(x86_cpuid, old_cpu)
{
	struct cpuid_guest g = guest;
	struct cpuid_leaf l;

	g.hw = hw_old;
	cr_assert_eq(cpuid_policy(&g, 0, 0).a, 1);
	l = cpuid_policy(&g, 7, 0);
	cr_assert_eq(l.a | l.b | l.c | l.d, 0);
	l = cpuid_policy(&g, 0x80000008, 0);
	cr_assert_eq(l.a | l.b | l.c | l.d, 0);
	cr_assert(cpuid_policy(&g, 1, 0).d);
}

/* A real CPU: nothing is offered that it lacks. */
static void hw_real(uint32_t leaf, uint32_t sub, struct cpuid_leaf *l)
{
	__asm__ volatile("cpuid"
			 : "=a"(l->a), "=b"(l->b), "=c"(l->c), "=d"(l->d)
			 : "a"(leaf), "c"(sub));
}

Test(x86_cpuid, this_machine)
{
	struct cpuid_guest g = guest;
	struct cpuid_leaf have, l;

	g.hw = hw_real;
	g.xcr0_max = 7;
	hw_real(0, 0, &have);
	l = cpuid_policy(&g, 0, 0);
	cr_assert_leq(l.a, have.a);
	cr_assert_leq(l.a, 0xd);
	cr_assert_eq(l.b, have.b);
	hw_real(1, 0, &have);
	l = cpuid_policy(&g, 1, 0);
	cr_assert_eq(l.c & ~have.c & ~(1u << 31 | 1u << 27), 0);
	cr_assert_eq(l.d & ~have.d & ~(1u << 28), 0);
	cr_assert_eq(l.a, have.a);
	hw_real(7, 0, &have);
	l = cpuid_policy(&g, 7, 0);
	cr_assert_eq(l.b & ~have.b, 0);
	hw_real(0x80000001, 0, &have);
	l = cpuid_policy(&g, 0x80000001, 0);
	cr_assert_eq(l.d & ~have.d & ~(1u << 11), 0);
}
