# SPDX-License-Identifier: MIT
"""Orderings whose loss no litmus test sees, each with the reason; and who else covers what."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Excused:
    """The end of an ordering edge that is not required to be seen."""

    tag: str
    file: str
    function: str
    why: str


_SPIN = "seen by ./xylem model: late.pml with NO_LATE; a grace period orders the mark itself"

EXCUSED: tuple[Excused, ...] = (
    Excused("con_in", "core/console_input.c", "to_buffer",
            "a store would have to be done before an earlier load: not on x86, not explored"),
    Excused("ec_abi", "core/evtchn_fifo_setup.c", "migrate",
            "it looks at the pending bits after the CAS of its caller, which is seen"),
    Excused("ec_fifo_array", "core/evtchn_fifo_setup.c", "evtchn_fifo_expand_array",
            "the exchanges of `early` on both sides order the page too"),
    Excused("ec_poll", "core/evtchn_deliver.c", "evtchn_poll_wake",
            "anyone_polls() has looked before; this only finds whom to wake"),
    Excused("ec_table", "core/evtchn_internal.h", "ec_lookup",
            "a second directory begins at port 32768; the load of the page after it is seen"),
    Excused("p2m_change", "memsvc/sync.c", "is_linear",
            "the exchange of the entry, which follows, is a full fence"),
    Excused("pt_detach", "memsvc/pt.c", "table_sweep",
            "the CAS that detached the table is a full fence too"),
    Excused("sched_home", "percpu/sched.h", "sched_home",
            "a message that went to the old home is passed on by it"),
    Excused("sched_home", "percpu/sched_move.c", "sched_send",
            "the state is read by an RMW, the rest comes with the move's own message"),
    Excused("sched_home", "core/vcpu_timer.c", "vcpu_ctl_post",
            "a message that went to the old home is passed on by it"),
    Excused("swap_run", "memsvc/swap_space.c", "take_run",
            "the fetch_and that takes the run acquires too"),
    Excused("tlb_loaded", "percpu/retire.c", "close_batch",
            "tlb_users() has a full fence of its own; with two domains' frames it is seen in more "
            "executions"),
    Excused("tlb_loaded", "percpu/tlb.c", "tlb_shootdown_mask",
            "tlb_users() has a full fence of its own"),
    Excused("tlb_loaded", "percpu/tlb.c", "tlb_shootdown_mm",
            "tlb_users() has a full fence of its own"),
    Excused("tlb_users", "percpu/tlb.c", "tlb_users",
            "only while users are taken out, which no test here does"),
    Excused("tlb_late", "memsvc/name_share.c", "shared_free", _SPIN),
    Excused("tlb_late", "memsvc/sync.c", "undo_late", _SPIN),
    Excused("tlb_late", "memsvc/sync.c", "frame_late", _SPIN),
    Excused("tlb_late", "percpu/retire.c", "was_late", _SPIN),
)

# Edges that no litmus test makes: why, and what looks at them instead.
ELSEWHERE: dict[str, str] = {
    "gdt_pages": "x86 only; the boots of mini-proc under QEMU",
    "memctl_msg": "the pattern of watchdog_msg; tests/test_memctl.c",
    "memctl_pump": "the pattern of watchdog_msg; tests/test_memctl.c",
    "smp_online": "x86 only, once at boot; the boots under QEMU",
    "smp_start": "x86 only, once at boot; the boots under QEMU",
    "ovf_rcu": "the domain's end only; tests/test_mm_storm.c, torture",
    "hint_hash": "two scanners and a broken share; ./xylem model: hint.pml",
}
