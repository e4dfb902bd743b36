# SPDX-License-Identifier: MulanPSL-2.0
SUMMARY = "The mica daemon's protocol from the other side, with faults on demand"
DESCRIPTION = "Plays micad for MicRun's tests, with guests that are real. Nothing starts it by itself, and no product has it."
SECTION = "devel"

require recipes-containers/micrun/micrun-source.inc

SRCREV = "541d639d833306ad49c52912139c2997e7b62bbf"

MICRUN_CRATES = "-p micad-sim"

FILES:${PN} = "${bindir}/micad-sim"
