/* SPDX-License-Identifier: MIT */
/*
 * The control stream: command lines that come in on stream 1 (COM2), the other way the records go.
 *
 *	q				end all domains
 *	ctl ID WORD...			change a setting; ID is a number that the answer repeats:
 *		balloon NAME PAGES|auto		scan-rate [NAME] N
 *		shares NAME N			mem-period MS
 *		min NAME PAGES			set KEY VALUE	(as in the configuration)
 *		tax PERCENT			pin NAME all|0-3+5
 *		create NAME LIKE [WORD...]	say NAME WORD	(a line typed at its console)
 *		destroy NAME			(core/create.h)
 *		locks				write what core/contention_report.h tells
 *
 * Answer: {"ev":"ctl","id":ID,"ok":true} or {"ev":"ctl","id":ID,"ok":false,"error":"TEXT"}, where
 * TEXT names the wrong word. Those of `create` and `locks` come when all is done, perhaps after
 * those of later lines. `pin` holds for the vCPUs that are or have been up. A line of 240 characters
 * or more is refused. Other lines are ignored.
 */
#ifndef CORE_CONTROL_H
#define CORE_CONTROL_H

#include "core/hc_xylem.h"
#include "core/types.h"

/** control_start() - poll the stream from now on; @quit is run for `q`. On pCPU 0, once. */
void control_start(void (*quit)(void));

/**
 * control_apply() - change a setting, for the stream and for XYLEM_OP_control. 0 or the errno that
 * core/hc_xylem.h tells. RCU section, any pCPU.
 */
int control_apply(const struct xylem_control *c);

/**
 * control_setting() - `set KEY VALUE` of the memory services. 0, -XEN_ENOENT (no such key),
 * -XEN_EINVAL (bad value). Any pCPU.
 */
int control_setting(const char *key, const char *value);

/* For tests: the answer to one `ctl` line (what follows the first word), cut into words in place;
 * empty when it comes later. */
void control_line(char *line, char *answer, size_t size);

#endif
