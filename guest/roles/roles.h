/* SPDX-License-Identifier: MIT */
/* One function per role; each ends the domain itself. */
#ifndef MINI_ROLES_H
#define MINI_ROLES_H

void role_hello(void);
void role_mem(void);
void role_smp(void);
void role_timer(void);
void role_evtchn(void);
void role_proc(void);
void role_burn(void);
void role_fuzz(void);
void role_hog(void);
void role_storm(void);
void role_work(void);
void role_wake(void);
void role_evil(void);
void role_idle(void);
void role_pattern(void);
void role_touch(void);
void role_cache(void);
void role_balloon(void);
void role_commute(void);
void role_scancost(void);
void role_scale(void);
void role_bench(void);
void role_busy(void);

#endif
