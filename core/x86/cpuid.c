/* SPDX-License-Identifier: MIT */
#include "core/x86/cpuid.h"

#define BIT(n) (1u << (n))

/* Leaf 1. What a PV kernel can't use, or what would need hardware it hasn't got, is missing. */
#define L1_ECX                                                                                    \
	(BIT(0) /* SSE3 */ | BIT(1) /* PCLMULQDQ */ | BIT(9) /* SSSE3 */ | BIT(12) /* FMA */ |    \
	 BIT(13) /* CX16 */ | BIT(19) /* SSE4.1 */ | BIT(20) /* SSE4.2 */ | BIT(22) /* MOVBE */ | \
	 BIT(23) /* POPCNT */ | BIT(25) /* AES */ | BIT(26) /* XSAVE */ | BIT(28) /* AVX */ |     \
	 BIT(29) /* F16C */ | BIT(30) /* RDRAND */)
#define L1_EDX                                                                                \
	(BIT(0) /* FPU */ | BIT(2) /* DE */ | BIT(4) /* TSC */ | BIT(5) /* MSR */ |           \
	 BIT(6) /* PAE */ | BIT(8) /* CX8 */ | BIT(9) /* APIC */ | BIT(15) /* CMOV */ |       \
	 BIT(16) /* PAT */ | BIT(19) /* CLFLUSH */ | BIT(23) /* MMX */ | BIT(24) /* FXSR */ | \
	 BIT(25) /* SSE */ | BIT(26) /* SSE2 */)
#define L1_ECX_OSXSAVE BIT(27)
#define L1_ECX_HYPERVISOR BIT(31)
#define L1_EDX_HTT BIT(28)

/* Leaf 7, subleaf 0 and 1. */
#define L7_EBX                                                                                   \
	(BIT(0) /* FSGSBASE */ | BIT(3) /* BMI1 */ | BIT(5) /* AVX2 */ | BIT(6) /* FDP_EXCP */ | \
	 BIT(8) /* BMI2 */ | BIT(9) /* ERMS */ | BIT(13) /* no FPU CS/DS */ | L7_EBX_AVX512 |    \
	 BIT(18) /* RDSEED */ | BIT(19) /* ADX */ | BIT(23) /* CLFLUSHOPT */ |                   \
	 BIT(24) /* CLWB */ | BIT(29) /* SHA */)
#define L7_EBX_AVX512                                                                 \
	(BIT(16) /* F */ | BIT(17) /* DQ */ | BIT(21) /* IFMA */ | BIT(26) /* PF */ | \
	 BIT(27) /* ER */ | BIT(28) /* CD */ | BIT(30) /* BW */ | BIT(31) /* VL */)
#define L7_ECX                                                              \
	(BIT(8) /* GFNI */ | BIT(9) /* VAES */ | BIT(10) /* VPCLMULQDQ */ | \
	 BIT(25) /* CLDEMOTE */ | BIT(27) /* MOVDIRI */ | BIT(28) /* MOVDIR64B */ | L7_ECX_AVX512)
#define L7_ECX_AVX512                                                                         \
	(BIT(1) /* VBMI */ | BIT(6) /* VBMI2 */ | BIT(11) /* VNNI */ | BIT(12) /* BITALG */ | \
	 BIT(14) /* VPOPCNTDQ */)
#define L7_EDX (BIT(4) /* FSRM */ | L7_EDX_AVX512)
#define L7_EDX_AVX512 (BIT(2) | BIT(3) | BIT(8)) /* 4VNNIW, 4FMAPS, VP2INTERSECT */
#define L7_1_EAX (BIT(4) /* AVX-VNNI */ | BIT(10) | BIT(11) | BIT(12)) /* fast short strings */

/* Leaf 0x80000001. */
#define E1_ECX                                                                                  \
	(BIT(0) /* LAHF */ | BIT(5) /* ABM */ | BIT(6) /* SSE4A */ | BIT(7) /* MISALIGNSSE */ | \
	 BIT(8) /* 3DNOWPREFETCH */ | BIT(11) /* XOP */ | BIT(16) /* FMA4 */ | BIT(21) /* TBM */)
#define E1_ECX_CMP_LEGACY BIT(1)
/* AMD's copies of leaf 1 EDX, for the features above that are in both. */
#define E1_EDX_COPY                                                                         \
	(BIT(0) | BIT(2) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(9) | BIT(15) | BIT(16) | \
	 BIT(23) | BIT(24))
#define E1_EDX                                                                      \
	(E1_EDX_COPY | BIT(20) /* NX */ | BIT(22) /* MMXEXT */ | BIT(29) /* LM */ | \
	 BIT(30) /* 3DNOWEXT */ | BIT(31) /* 3DNOW */)
#define E1_EDX_SYSCALL BIT(11)

#define XCR0_AVX 0x4u
#define XCR0_AVX512 0xe0u

#define LAST_BASIC 0xdu
#define LAST_EXTENDED 0x80000008u
#define LAST_XEN (XEN_CPUID_BASE + 5)

/* Xen's leaf base + 3: the guest reads the hardware's TSC, always. */
#define TSC_MODE_NEVER_EMULATE 2
/* Frame numbers are names and fit 32 bits. */
#define NAME_ADDRESS_BITS 44

static unsigned log2_ceil(unsigned n)
{
	unsigned s = 0;

	while ((1u << s) < n)
		s++;
	return s;
}

static bool is_amd(const struct cpuid_guest *g)
{
	struct cpuid_leaf l;

	g->hw(0, 0, &l);
	return l.b == 0x68747541 && l.d == 0x69746e65 && l.c == 0x444d4163; /* AuthenticAMD */
}

static void leaf_1(const struct cpuid_guest *g, struct cpuid_leaf *l)
{
	l->c &= L1_ECX;
	l->d &= L1_EDX;
	l->c |= L1_ECX_HYPERVISOR;
	if (!g->xcr0_max)
		l->c &= ~BIT(26);
	if (!(g->xcr0_max & XCR0_AVX))
		l->c &= ~(BIT(28) | BIT(29) | BIT(12));
	/* As Xen: shown whatever the guest's CR4 says; Linux tells by it that XSAVE may be used. */
	if (l->c & BIT(26))
		l->c |= L1_ECX_OSXSAVE;
	/* One package; each vCPU is a core of one thread. APIC id = vCPU number. */
	l->b = (l->b & 0xff00) | (g->vcpu & 0xff) << 24;
	if (g->max_vcpus > 1) {
		l->b |= (g->max_vcpus & 0xff) << 16;
		l->d |= L1_EDX_HTT;
	}
}

static void leaf_7(const struct cpuid_guest *g, uint32_t sub, struct cpuid_leaf *l)
{
	if (sub == 0) {
		l->a = MIN(l->a, 1u);
		l->b &= L7_EBX;
		l->c &= L7_ECX;
		l->d &= L7_EDX;
		if (!(g->xcr0_max & XCR0_AVX)) {
			l->b &= ~BIT(5);
			l->c &= ~(BIT(9) | BIT(10));
		}
		if ((g->xcr0_max & XCR0_AVX512) != XCR0_AVX512) {
			l->b &= ~L7_EBX_AVX512;
			l->c &= ~L7_ECX_AVX512;
			l->d &= ~L7_EDX_AVX512;
		}
	} else {
		uint32_t a = sub == 1 && (g->xcr0_max & XCR0_AVX) ? l->a & L7_1_EAX : 0;

		*l = (struct cpuid_leaf){.a = a};
	}
}

/* Cache leaf: who shares a cache is a matter of the vCPU topology. */
static void leaf_4(const struct cpuid_guest *g, struct cpuid_leaf *l)
{
	if (!(l->a & 31)) {
		*l = (struct cpuid_leaf){0};
		return;
	}
	unsigned cores = MIN(1u << log2_ceil(g->max_vcpus), 64u);
	unsigned level = l->a >> 5 & 7;

	l->a = (l->a & 0x3fff) | (cores - 1) << 26;
	if (level >= 3)
		l->a |= (cores - 1) << 14;
}

static struct cpuid_leaf leaf_b(const struct cpuid_guest *g, uint32_t sub)
{
	struct cpuid_leaf l = {.c = sub & 0xff, .d = g->vcpu};

	if (sub == 0) { /* threads of a core */
		l.b = 1;
		l.c |= 1 << 8;
	} else if (sub == 1) { /* cores of the package */
		l.a = log2_ceil(g->max_vcpus);
		l.b = g->max_vcpus;
		l.c |= 2 << 8;
	}
	return l;
}

/* Size of an XSAVE area with the components of @xcr0, standard or compacted form. */
static uint32_t xsave_size(const struct cpuid_guest *g, uint64_t xcr0, bool compact)
{
	uint32_t size = 512 + 64;

	for (unsigned i = 2; i < 63; i++) {
		struct cpuid_leaf l;

		if (!(xcr0 >> i & 1))
			continue;
		g->hw(0xd, i, &l);
		if (!compact)
			size = MAX(size, l.b + l.a);
		else
			size = (l.c & 2 ? ROUND_UP(size, 64) : size) + l.a;
	}
	return size;
}

static void leaf_d(const struct cpuid_guest *g, uint32_t sub, struct cpuid_leaf *l)
{
	if (!g->xcr0_max) {
		*l = (struct cpuid_leaf){0};
	} else if (sub == 0) {
		l->a = (uint32_t)g->xcr0_max;
		l->b = xsave_size(g, g->xcr0, false);
		l->c = xsave_size(g, g->xcr0_max, false);
		l->d = (uint32_t)(g->xcr0_max >> 32);
	} else if (sub == 1) { /* XSAVEOPT, XSAVEC, XGETBV 1; XSAVES is privileged */
		*l = (struct cpuid_leaf){.a = l->a & 7};
		if (l->a & 2)
			l->b = xsave_size(g, g->xcr0, true);
	} else if (sub < 63 && (g->xcr0_max >> sub & 1)) {
		l->c &= 2;
		l->d = 0;
	} else {
		*l = (struct cpuid_leaf){0};
	}
}

static struct cpuid_leaf leaf_xen(const struct cpuid_guest *g, uint32_t leaf, uint32_t sub)
{
	switch (leaf - XEN_CPUID_BASE) {
	case 0: /* "XenVMMXenVMM" */
		return (struct cpuid_leaf){LAST_XEN, 0x566e6558, 0x65584d4d, 0x4d4d566e};
	case 1:
		return (struct cpuid_leaf){.a = XEN_VERSION_NUMBER};
	case 2: /* one hypercall page; MMU_PT_UPDATE_PRESERVE_AD works */
		return (struct cpuid_leaf){.a = 1, .b = XEN_HYPERCALL_MSR, .c = 1};
	case 3:
		if (sub == 0)
			return (struct cpuid_leaf){.a = 2, /* the host's TSC is reliable */
						   .b = TSC_MODE_NEVER_EMULATE,
						   .c = (uint32_t)(g->tsc_hz / 1000)};
		if (sub == 1)
			return (struct cpuid_leaf){(uint32_t)g->tsc.offset,
						   (uint32_t)(g->tsc.offset >> 32), g->tsc.mul,
						   (uint32_t)(int32_t)g->tsc.shift};
		if (sub == 2)
			return (struct cpuid_leaf){.a = (uint32_t)(g->tsc_hz / 1000)};
		break;
	case 5:
		if (sub == 0)
			return (struct cpuid_leaf){.b = NAME_ADDRESS_BITS};
		break;
	default:
		break;
	}
	return (struct cpuid_leaf){0};
}

static void leaf_extended(const struct cpuid_guest *g, uint32_t leaf, struct cpuid_leaf *l)
{
	switch (leaf) {
	case 0x80000000:
		l->a = MIN(l->a, LAST_EXTENDED);
		break;
	case 0x80000001:
		l->b = 0;
		l->c &= E1_ECX;
		l->d = (l->d & (is_amd(g) ? E1_EDX : E1_EDX & ~E1_EDX_COPY)) | E1_EDX_SYSCALL;
		if (!(g->xcr0_max & XCR0_AVX))
			l->c &= ~(BIT(11) | BIT(16));
		if (is_amd(g) && g->max_vcpus > 1)
			l->c |= E1_ECX_CMP_LEGACY;
		break;
	case 0x80000007: /* invariant TSC: all time here rests on it, so guests may rely on it too */
		*l = (struct cpuid_leaf){.d = BIT(8)};
		break;
	case 0x80000008:
		l->a &= 0xffff;
		l->b &= BIT(0) | BIT(2); /* CLZERO, FP error pointers restored */
		l->c = is_amd(g) ? log2_ceil(g->max_vcpus) << 12 | (g->max_vcpus - 1) : 0;
		l->d = 0;
		break;
	default: /* brand string, caches: as they are */
		break;
	}
}

struct cpuid_leaf cpuid_policy(const struct cpuid_guest *g, uint32_t leaf, uint32_t sub)
{
	struct cpuid_leaf l = {0};

	if (leaf >> 16 == XEN_CPUID_BASE >> 16)
		return leaf <= LAST_XEN ? leaf_xen(g, leaf, sub) : l;
	if (leaf > LAST_EXTENDED || (leaf > LAST_BASIC && leaf < 0x80000000))
		return l;
	g->hw(leaf & 0x80000000, 0, &l);
	if (leaf > l.a) /* beyond the hardware's own last leaf */
		return (struct cpuid_leaf){0};
	g->hw(leaf, sub, &l);

	switch (leaf) {
	case 0:
		l.a = MIN(l.a, LAST_BASIC);
		break;
	case 1:
		leaf_1(g, &l);
		break;
	case 2:
		break;
	case 4:
		leaf_4(g, &l);
		break;
	case 7:
		leaf_7(g, sub, &l);
		break;
	case 0xb:
		return leaf_b(g, sub);
	case 0xd:
		leaf_d(g, sub, &l);
		break;
	default:
		if (leaf < 0x80000000) /* serial number, MWAIT, power, perf counters, ... */
			return (struct cpuid_leaf){0};
		leaf_extended(g, leaf, &l);
	}
	return l;
}
