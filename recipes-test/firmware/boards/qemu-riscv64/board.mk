# SPDX-License-Identifier: MulanPSL-2.0
CROSS.qemu-riscv64 := riscv64-linux-gnu-
FLAGS.qemu-riscv64 := -march=rv64imac_zicsr -mabi=lp64 -mcmodel=medany -mno-relax -msmall-data-limit=0
SHARED.qemu-riscv64 := no_network.c
