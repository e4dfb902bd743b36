# SPDX-License-Identifier: MulanPSL-2.0
# As qemu_arm64: the MMU stays off.
CROSS.xen_arm64_vuart := aarch64-linux-gnu-
FLAGS.xen_arm64_vuart := -march=armv8-a -mgeneral-regs-only -mstrict-align -mno-outline-atomics
SHARED.xen_arm64_vuart := arm64.c arm64_start.S no_network.c
