/* SPDX-License-Identifier: MIT */
#include <arch/cpu.h>

#include "core/domain.h"
#include "core/x86/cpuid.h"
#include "core/x86/fpu.h"
#include "core/x86/tsc.h"

static void hw(uint32_t leaf, uint32_t sub, struct cpuid_leaf *out)
{
	uint32_t r[4];

	cpuid_raw(leaf, sub, r);
	*out = (struct cpuid_leaf){r[0], r[1], r[2], r[3]};
}

struct cpuid_leaf cpuid_vcpu(const struct vcpu *v, uint32_t leaf, uint32_t sub)
{
	struct time_scale s = arch_tsc_scale();
	struct cpuid_guest g = {
		.vcpu = v->id,
		.max_vcpus = v->domain->max_vcpus,
		.xcr0 = v->arch.xcr0,
		.xcr0_max = fpu_xcr0_mask(),
		.cr4 = v->arch.ctrlreg[4],
		.tsc_hz = arch_tsc_hz(),
		.tsc = {s.mul, s.shift, arch_tsc_base()},
		.hw = hw,
	};

	return cpuid_policy(&g, leaf, sub);
}
