/* SPDX-License-Identifier: MIT */
/*
 * What percpu/contention.h counted, as records on stream 1. All are {"ev":"locks",...} with one of
 *	"begin":TIME			a report begins; ns of system time
 *	"site":[N,KIND,NAME,FILE,LINE,FUNCTION]	site number N; KIND: cas or wait
 *	"cpu":C,"calls":[[N,CONTENDED,RETRIES,WAIT,[PC,...]],...]	by call path, inside out
 *	"cpu":C,"rows":[[N,PASSES,CONTENDED,RETRIES,WAIT],...]	sites passed on pCPU C
 *	"end":{"t_ns":T,"tsc_hz":H,"pcpus":P}	the report is complete
 * WAIT is in cycles. A pCPU's call paths come before its rows, so that a row holds at least
 * what its call paths add up to, whatever happens meanwhile.
 */
#ifndef CORE_CONTENTION_REPORT_H
#define CORE_CONTENTION_REPORT_H

#include "core/types.h"

/** contention_report_at_end() - whether contention_report_end() is to write one. Any pCPU. */
void contention_report_at_end(bool on);

/**
 * contention_report_ask() - write a report in the background, then the answer to control command
 * @id: {"ev":"ctl","id":ID,"ok":true,"locks":true}. False: one is being written. On pCPU 0.
 */
bool contention_report_ask(uint64_t id);

/** contention_report_end() - all at once, before the machine halts. On pCPU 0. */
void contention_report_end(void);

#endif
