# SPDX-License-Identifier: MIT
# Sources outside the host library that a test also compiles, and its time limit.
set(EXTRA_SRCS_test_x86_acpi core/x86/acpi.c)
set(EXTRA_SRCS_test_x86_apic core/x86/apic.c core/x86/apic_xapic.c core/x86/apic_x2apic.c)
set(EXTRA_SRCS_test_x86_cpuid core/x86/cpuid.c)
set(EXTRA_SRCS_test_x86_decode core/x86/decode.c core/x86/insn_regs.c)
set(EXTRA_SRCS_test_x86_misc core/x86/ksyms.c core/x86/rtc_decode.c core/x86/smp_delay.c
    core/x86/tsc_math.c)
set(EXTRA_SRCS_test_x86_emul core/x86/decode.c core/x86/insn_regs.c)
set(EXTRA_SRCS_test_x86_ptwrite core/x86/decode.c core/x86/insn_regs.c)
set(EXTRA_SRCS_test_torture stress/torture_run.c stress/torture_mmu.c stress/torture_oracle.c
    stress/torture_guest.c stress/torture_tables.c stress/torture_scan.c stress/torture_rest.c
    stress/torture_core.c stress/torture_mayfly.c stress/torture_retire.c stress/torture_swap.c stress/torture_core_scan.c
    stress/torture_core_policy.c stress/torture_policy.c)
# TSan defers signals, so nothing could be stepped.
set(NO_TSAN test_evtchn_steps)
