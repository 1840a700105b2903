# SPDX-License-Identifier: MIT
"""./xylem bench NAME."""

from launch.dispatch import dispatcher

main = dispatcher("bench", "benchmark")
