# SPDX-License-Identifier: MulanPSL-2.0
require micrun.inc

SRCREV = "541d639d833306ad49c52912139c2997e7b62bbf"
