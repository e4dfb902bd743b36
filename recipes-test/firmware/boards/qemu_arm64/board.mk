# SPDX-License-Identifier: MulanPSL-2.0
# The MMU stays off, so memory is Device memory: no unaligned access, and no FP registers to save.
CROSS.qemu_arm64 := aarch64-linux-gnu-
FLAGS.qemu_arm64 := -march=armv8-a -mgeneral-regs-only -mstrict-align -mno-outline-atomics
SHARED.qemu_arm64 := arm64.c arm64_start.S no_network.c resource_table.c
