# SPDX-License-Identifier: MIT
"""
Every compare-and-swap and spin of the hypervisor is counted (percpu/contention.h), or is in EXEMPT
with the reason why there is nothing to count. There is no lock.
"""

import re
from collections.abc import Iterable

PARTS = ("core/", "percpu/", "memsvc/", "ioring/")
# What may fail because of another CPU, or waits for one.
_ATTEMPT = re.compile(r"\b(?:__)?(?:atomic_compare_exchange\w*|ck_pr_cas\w*|uatomic_cmpxchg|"
                      r"cmpxchg|sync_bool_compare_and_swap|cpu_relax|"
                      r"word_cas|slot_cas|name_move)\s*\(|\"pause\"")
_COUNTED = re.compile(r"\b(?:CAS_LOOP|WAIT_LOOP|CAS_SITE)\(|struct contention_site \*|"
                      r"struct retry_loop\b")
_LOCK = re.compile(r"\b(?:pthread_(?:mutex|spin|rwlock)\w*|ck_(?:spinlock|ticket|rwlock|mcs)\w*|"
                   r"atomic_flag\w*|spin_lock\w*|mtx_lock)\b")
_FUNCTION = re.compile(r"(\w+)\(")

ONE_SHOT = "one attempt: who loses uses what the winner has made, or does nothing"
TOLD = "one attempt: the caller is told, and counts it if it tries again"
PARTS_OF_TOUCH = "name_touch() counts it"
NEXT = "one attempt for each slot: who loses it goes on to the next"
DEVICE = "waits for a device or for time"
STOPPING = "the machine stops"

EXEMPT = {
    "core/console.c drain_again": "one attempt: when it fails, another round is due",
    "core/console_input.c console_detach": ONE_SHOT,
    "core/domain.c vcpu_run": ONE_SHOT,
    "core/domain_end.c domain_end": ONE_SHOT,
    "core/evtchn.c evtchn_bind_interdomain": ONE_SHOT,
    "core/evtchn.c evtchn_bind_virq": ONE_SHOT,
    "core/evtchn_deliver.c evtchn_poll_end": ONE_SHOT,
    "core/evtchn_fifo.c enqueue": "one attempt: the other way is submit(), which counts",
    "core/evtchn_fifo_setup.c evtchn_fifo_expand_array": ONE_SHOT,
    "core/evtchn_fifo_setup.c evtchn_fifo_init_control": ONE_SHOT,
    "core/evtchn_fifo_setup.c make_state": ONE_SHOT,
    "core/evtchn_table.c claim": "one attempt: who fails looks for another chunk",
    "core/evtchn_table.c find_chunk": "one attempt: a hint that another has lowered stays",
    "core/evtchn_table.c make": ONE_SHOT,
    "core/hc_sched.c op_watchdog": NEXT,
    "core/x86/apic_xapic.c xapic_icr": DEVICE,
    "core/x86/include/arch/cpu.h cpu_relax": "what others wait with",
    "core/x86/panic.c stop_others": STOPPING,
    "core/x86/panic.c vpanic": STOPPING,
    "core/x86/power.c arch_poweroff": STOPPING,
    "core/x86/rtc.c snapshot": DEVICE,
    "core/x86/serial.c wait_empty": DEVICE,
    "core/x86/tsc.c tsc_init": DEVICE,
    "core/x86/tsc.c udelay": DEVICE,
    "memsvc/memctl.c memctl_may_end": ONE_SHOT,
    "memsvc/name.c break_share": PARTS_OF_TOUCH,
    "memsvc/name.c change": PARTS_OF_TOUCH,
    "memsvc/name.c first_touch": PARTS_OF_TOUCH,
    "memsvc/name.c name_finish_break": ONE_SHOT,
    "memsvc/name.c name_move": TOLD,
    "memsvc/name.c swap_in": PARTS_OF_TOUCH,
    "memsvc/name.c word_cas": TOLD,
    "memsvc/name_share.c name_guard": ONE_SHOT,
    "memsvc/name_share.c name_promote": ONE_SHOT,
    "memsvc/name_share.c name_sample": ONE_SHOT,
    "memsvc/name_share.c name_flushed": ONE_SHOT,
    "memsvc/name_share.c replace": ONE_SHOT,
    "memsvc/p2m.c mm_map_special": ONE_SHOT,
    "memsvc/p2m.c mm_promise": TOLD,
    "memsvc/p2m.c node": ONE_SHOT,
    "memsvc/p2m.c populate_one": ONE_SHOT,
    "memsvc/pt.c table_forget_linear": ONE_SHOT,
    "memsvc/pt.h guest_write": "the guest's own attempt: it is told",
    "memsvc/rmap.c name_page_make": ONE_SHOT,
    "memsvc/rmap.c node_take": NEXT,
    "memsvc/rmap.c node_unlink": ONE_SHOT,
    "memsvc/rmap.c rmap_claim": TOLD,
    "memsvc/rmap.c slot_cas": TOLD,
    "memsvc/rmap.h rmap_add": NEXT,
    "memsvc/rmap.h rmap_del": NEXT,
    "memsvc/scan_settle.c hash_adopt": ONE_SHOT,
    "memsvc/swap_slot.c mid_make": ONE_SHOT,
    "memsvc/swap_space.c let_go": TOLD,
    "memsvc/sync.c enter_pending": "sync_leaf() and leaf_write() count it",
    "memsvc/sync.c enter_same": "sync_leaf() and leaf_write() count it",
    "memsvc/sync.c fill_leaf": "one attempt: the other way is sync_leaf(), which counts",
    "memsvc/sync.c is_linear": ONE_SHOT,
    "memsvc/sync.c writable_first": ONE_SHOT,
    "percpu/counters.c counter_register": ONE_SHOT,
    "percpu/tlb.c tlb_users_left": ONE_SHOT,
}


def functions(text: str) -> Iterable[tuple[int, str, str]]:
    """(line, name, text) of each function: from a line with a name to the brace in column 1."""
    lines = text.split("\n")
    start, name = 0, ""
    for number, line in enumerate(lines):
        if line == "{":
            # Back to where its head begins.
            start = number
            while start and lines[start - 1] and lines[start - 1][0] not in "#}/ *" \
                    and not lines[start - 1].endswith((";", "*/")):
                start -= 1
            found = _FUNCTION.findall(" ".join(lines[start:number]))
            found = [word for word in found if not word.isupper() and word != "__attribute__"]
            name = found[0] if found else "?"
        elif line == "}" and name:
            yield start + 1, name, "\n".join(lines[start:number])
            name = ""


def _code(text: str) -> str:
    """Without comments, the lines kept."""
    return re.sub(r"/\*.*?\*/", lambda match: re.sub(r"[^\n]", "", match[0]), text, flags=re.S)


def check(texts: dict[str, str]) -> list[str]:
    """What is neither counted nor exempt, and exemptions that nothing needs."""
    wrong, used = [], set()
    for path, text in sorted(texts.items()):
        if not path.startswith(PARTS) or not path.endswith((".c", ".h")):
            continue
        code = _code(text)
        for line, name, body in functions(code):
            key = f"{path} {name}"
            if _ATTEMPT.search(body.partition("{")[2]) and not _COUNTED.search(body):
                used.add(key)
                if key not in EXEMPT:
                    wrong.append(f"{path}:{line}: {name}() may fail or wait because of another "
                                 "CPU, and has no contention site")
        if not path.startswith("core/host/"):
            wrong += [f"{path}: {match[0]} is a lock" for match in _LOCK.finditer(code)]
    wrong += [f"launch/sitecheck.py: {key} is exempt for nothing" for key in EXEMPT
              if key not in used]
    return wrong
