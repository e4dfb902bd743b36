# SPDX-License-Identifier: MulanPSL-2.0
CROSS.qemu_cortex_m3 := arm-none-eabi-
FLAGS.qemu_cortex_m3 := -mcpu=cortex-m3 -mthumb
SHARED.qemu_cortex_m3 := no_network.c
