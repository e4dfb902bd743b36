# SPDX-License-Identifier: MulanPSL-2.0
CROSS.qemu_x86 := i686-linux-gnu-
FLAGS.qemu_x86 := -march=i686 -mgeneral-regs-only -fcf-protection=none
SHARED.qemu_x86 := no_network.c
