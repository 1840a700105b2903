# SPDX-License-Identifier: MIT
"""./xylem stress NAME."""

from launch.dispatch import dispatcher

main = dispatcher("stress", "stress run")
