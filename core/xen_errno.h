/* SPDX-License-Identifier: MIT */
/* Xen's errno values, as XEN_Exxx (ABI: <xen/errno.h>). Functions return them negated. */
#ifndef CORE_XEN_ERRNO_H
#define CORE_XEN_ERRNO_H

#ifndef __XEN_PUBLIC_ERRNO_H__
#define XEN_ERRNO(name, value) XEN_##name = value,
enum {
#include <xen/errno.h>
};
/* The header undefines XEN_ERRNO; a later plain include must not define the names again. */
#define __XEN_PUBLIC_ERRNO_H__
#endif

#endif
