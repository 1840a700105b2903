/* SPDX-License-Identifier: MIT */
/*
 * Formatted output into memory, freestanding. Conversions: d i u x X o c s p %, with flags - 0 + #
 * and space, width and precision (also *), lengths hh h l ll z t j. No floating point.
 */
#ifndef CORE_FMT_H
#define CORE_FMT_H

#include <stdarg.h>

#include "core/types.h"

/**
 * fmt_vsnprintf() - as vsnprintf(): always terminates when @size > 0; returns the length that the
 * whole text has. Pure, any context.
 */
int fmt_vsnprintf(char *buf, size_t size, const char *fmt, va_list ap) PRINTF(3, 0);
int fmt_snprintf(char *buf, size_t size, const char *fmt, ...) PRINTF(3, 4);

#endif
