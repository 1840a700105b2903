# SPDX-License-Identifier: MIT
"""Run inside gdb: prints the layout of the hypervisor's structures and variables as JSON."""

import json
import os

import gdb  # type: ignore[import-not-found]

STRUCTS = os.environ["XYLEM_STRUCTS"].split()
VARIABLES = os.environ["XYLEM_VARIABLES"].split()

types: dict[str, dict] = {}


def describe(kind: "gdb.Type") -> str:
    """Note a type and what it is made of; returns its name in 'types'."""
    kind = kind.strip_typedefs().unqualified()
    name = str(kind)
    if kind.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION) and kind.name is None:
        name = f"anon{hash(str([(f.name, str(f.type)) for f in kind.fields()])) & 0xffffffffffff:x}"
    if name in types:
        return name
    out = types[name] = {"size": kind.sizeof}
    if kind.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
        out["fields"] = [[field.bitpos // 8, field.name or "", describe(field.type)]
                         for field in kind.fields()]
    elif kind.code == gdb.TYPE_CODE_ARRAY:
        element = kind.target()
        count = kind.sizeof // element.sizeof if element.sizeof else 0
        out["array"] = [count, describe(element)]
    return name


structs = {}
for wanted in STRUCTS:
    try:
        structs[wanted] = describe(gdb.lookup_type(f"struct {wanted}"))
    except gdb.error:
        pass
variables = {}
for wanted in VARIABLES:
    symbol = gdb.lookup_global_symbol(wanted) or gdb.lookup_static_symbol(wanted)
    if symbol is not None and symbol.type is not None:
        variables[wanted] = describe(symbol.type)
print("XYLEM" + json.dumps({"types": types, "structs": structs, "variables": variables}))
