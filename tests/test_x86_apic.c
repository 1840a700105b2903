/* SPDX-License-Identifier: MIT */
/*
 * The APIC code on a mock of the hardware, in both modes: QEMU's TCG has no x2APIC. The mock is
 * strict: registers and MSRs that do not exist in the mode, or reserved bits, fail the test.
 */
#include <criterion/criterion.h>

#include <string.h>

#include "core/x86/apic.h"

#define X2(reg) (0x800u + ((reg) >> 4))

static uint32_t page[1024] ALIGNED(4096);
static uint64_t msr_base = 0xfee00000 | 1u << 11;
static uint64_t x2_regs[0x40];
static unsigned writes;
static uint32_t last_msr;
static uint64_t last_icr;

static uint64_t mock_rdmsr(uint32_t msr)
{
	if (msr == 0x1b)
		return msr_base;
	cr_assert(msr >= 0x800 && msr < 0x840, "RDMSR %x", msr);
	cr_assert_eq(msr_base >> 10 & 3, 3, "x2APIC register read before the mode is on");
	cr_assert(msr != X2(APIC_DFR) && msr != X2(APIC_ICR2) && msr != X2(APIC_EOI),
		  "RDMSR %x would fault", msr);
	return x2_regs[msr - 0x800];
}

static void mock_wrmsr(uint32_t msr, uint64_t val)
{
	if (msr == 0x1b) {
		uint64_t was = msr_base >> 10 & 3, now = val >> 10 & 3;

		cr_assert(now != 1, "x2APIC without enable faults");
		cr_assert(!(was == 0 && now == 3), "disabled to x2APIC in one step faults");
		cr_assert(!(was == 3 && now == 2), "x2APIC back to xAPIC faults");
		msr_base = val;
		return;
	}
	cr_assert_eq(msr_base >> 10 & 3, 3, "x2APIC register written before the mode is on");
	cr_assert(msr >= 0x800 && msr < 0x840, "WRMSR %x", msr);
	cr_assert(msr != X2(APIC_ID) && msr != X2(APIC_VERSION) && msr != X2(APIC_LDR) &&
			  msr != X2(APIC_DFR) && msr != X2(APIC_ICR2) && msr != X2(APIC_TIMER_CUR),
		  "WRMSR %x would fault", msr);
	cr_assert(msr == X2(APIC_ICR) || !(val >> 32), "high half of %x is reserved", msr);
	if (msr == X2(APIC_EOI))
		cr_assert_eq(val, 0, "only 0 may be written to EOI");
	if (msr == X2(APIC_ICR)) {
		cr_assert_eq(val & 0xfff32000, 0, "reserved ICR bits");
		last_icr = val;
	}
	last_msr = msr;
	writes++;
	x2_regs[msr - 0x800] = val;
}

struct apic_hw apic_hw = {.mmio = page, .rdmsr = mock_rdmsr, .wrmsr = mock_wrmsr};

static void x2apic(void)
{
	apic = &x2apic_ops;
	x2_regs[X2(APIC_VERSION) - 0x800] = 6u << 16 | 0x15;
	x2_regs[X2(APIC_ID) - 0x800] = 0x12345;
	apic_init_cpu();
}

static void xapic(void)
{
	apic = &xapic_ops;
	page[APIC_VERSION / 4] = 5u << 16 | 0x14;
	page[APIC_ID / 4] = 0x17u << 24;
	apic_init_cpu();
}

static void check_lvts(uint32_t (*reg)(enum apic_reg))
{
	cr_assert_eq(reg(APIC_SVR), 0x100 | VEC_SPURIOUS);
	cr_assert(reg(APIC_LVT_LINT0) & 1u << 16);
	cr_assert(reg(APIC_LVT_LINT1) & 1u << 16);
	cr_assert(reg(APIC_LVT_ERROR) & 1u << 16);
	cr_assert(reg(APIC_LVT_PERF) & 1u << 16);
	cr_assert(reg(APIC_LVT_THERMAL) & 1u << 16);
	cr_assert_eq(reg(APIC_LVT_TIMER), VEC_TIMER); /* one-shot, not masked */
	cr_assert_eq(reg(APIC_TIMER_DIV), 0xb);	      /* divide by 1 */
	cr_assert_eq(reg(APIC_TIMER_INIT), 0);
	cr_assert_eq(reg(APIC_TPR), 0);
}

static uint32_t x2_reg(enum apic_reg r)
{
	return (uint32_t)x2_regs[r >> 4];
}

static uint32_t xa_reg(enum apic_reg r)
{
	return page[r / 4];
}

Test(x86_apic, x2apic_init)
{
	x2apic();
	cr_assert_eq(msr_base & 0xc00, 0xc00);
	cr_assert_eq(apic_id(), 0x12345);
	check_lvts(x2_reg);
	cr_assert(x2_reg(APIC_LVT_CMCI) & 1u << 16);
}

Test(x86_apic, x2apic_from_disabled)
{
	msr_base = 0xfee00000;
	x2apic();
	cr_assert_eq(msr_base & 0xc00, 0xc00);
}

Test(x86_apic, x2apic_already_on)
{
	msr_base |= 0xc00;
	x2apic();
	cr_assert_eq(msr_base & 0xc00, 0xc00);
}

Test(x86_apic, x2apic_send)
{
	x2apic();
	writes = 0;
	apic_send_ipi(0x12346, VEC_KICK);
	cr_assert_eq(writes, 1); /* one register write, nothing polled */
	cr_assert_eq(last_icr, 0x12346ULL << 32 | 0x4000 | VEC_KICK);
	apic_send_init(300);
	cr_assert_eq(last_icr, 300ULL << 32 | 0x4500);
	apic_send_sipi(300, 8);
	cr_assert_eq(last_icr, 300ULL << 32 | 0x4608);
	apic_send_init_all();
	cr_assert_eq(last_icr & 0xfffff, 0xc4500);
	apic_send_sipi_all(8);
	cr_assert_eq(last_icr & 0xfffff, 0xc4608);
	apic_send_nmi_all_others();
	cr_assert_eq(last_icr & 0xfffff, 0xc4400);
	apic_eoi();
	cr_assert_eq(last_msr, X2(APIC_EOI));
}

Test(x86_apic, xapic_init)
{
	page[APIC_LVT_CMCI / 4] = 0x5555;
	msr_base = 0xfee00000;
	xapic();
	cr_assert_eq(msr_base & 0xc00, 0x800);
	cr_assert_eq(apic_id(), 0x17);
	check_lvts(xa_reg);
	cr_assert_eq(xa_reg(APIC_LVT_CMCI), 0x5555); /* 6 LVTs only: not there */
}

Test(x86_apic, xapic_send)
{
	xapic();
	apic_send_ipi(0x42, VEC_KICK);
	cr_assert_eq(page[APIC_ICR2 / 4], 0x42u << 24);
	cr_assert_eq(page[APIC_ICR / 4], 0x4000 | VEC_KICK);
	apic_send_sipi(3, 0x9f);
	cr_assert_eq(page[APIC_ICR2 / 4], 3u << 24);
	cr_assert_eq(page[APIC_ICR / 4], 0x469f);
	apic_send_nmi_all_others();
	cr_assert_eq(page[APIC_ICR / 4], 0xc4400);
}

Test(x86_apic, timer)
{
	x2apic();
	apic_timer_oneshot(12345);
	cr_assert_eq(x2_reg(APIC_TIMER_INIT), 12345);
	apic_timer_free_run();
	cr_assert_eq(x2_reg(APIC_LVT_TIMER), 1u << 16 | VEC_TIMER);
	cr_assert_eq(x2_reg(APIC_TIMER_INIT), UINT32_MAX);
	x2_regs[APIC_TIMER_CUR >> 4] = 777;
	cr_assert_eq(apic_timer_count(), 777);
	apic_timer_stop();
	cr_assert_eq(x2_reg(APIC_LVT_TIMER), VEC_TIMER);
	cr_assert_eq(x2_reg(APIC_TIMER_INIT), 0);
	apic_timer_deadline_mode();
	cr_assert_eq(x2_reg(APIC_LVT_TIMER), 2u << 17 | VEC_TIMER);
}
