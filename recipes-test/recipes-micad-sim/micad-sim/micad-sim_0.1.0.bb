# SPDX-License-Identifier: MulanPSL-2.0
SUMMARY = "The mica daemon's protocol from the other side, with faults on demand"
DESCRIPTION = "Plays micad for MicRun's tests, with guests that are real. Nothing starts it by itself, and no product has it."
SECTION = "devel"

require recipes-containers/micrun/micrun-source.inc

SRCREV = "3cae70511ff9ea0fa1462c8a1fdfbfdaaa6d5ad5"

MICRUN_CRATES = "-p micad-sim"

FILES:${PN} = "${bindir}/micad-sim"
