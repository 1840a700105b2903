# SPDX-License-Identifier: MIT
"""./xylem profile NAME."""

from launch.dispatch import dispatcher

main = dispatcher("profile", "profile")
