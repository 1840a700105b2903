/* SPDX-License-Identifier: MIT */
/* Linux guests that take all they can of one thing. */
#ifndef GUEST_LINUX_HOGS_H
#define GUEST_LINUX_HOGS_H

/* Never returns: cpu, forks, memory, events or tables. */
__attribute__((noreturn)) void hog(const char *mode);

#endif
