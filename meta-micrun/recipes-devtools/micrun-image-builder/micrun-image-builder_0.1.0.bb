# SPDX-License-Identifier: MulanPSL-2.0
require micrun-image-builder.inc

SRCREV = "3cae70511ff9ea0fa1462c8a1fdfbfdaaa6d5ad5"
