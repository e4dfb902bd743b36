# SPDX-License-Identifier: MulanPSL-2.0
# The MMU is off for the first instructions: no unaligned access. No FP registers to save.
CROSS.xen_arm64 := aarch64-linux-gnu-
FLAGS.xen_arm64 := -march=armv8-a -mgeneral-regs-only -mstrict-align -mno-outline-atomics
SHARED.xen_arm64 := arm64.c arm64_start.S resource_table.c
