# SPDX-License-Identifier: MIT
"""The launcher behind ./xylem: builds, boots and measures Xylem under QEMU."""
