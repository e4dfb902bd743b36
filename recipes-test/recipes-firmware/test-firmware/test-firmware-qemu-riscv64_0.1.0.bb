# SPDX-License-Identifier: MulanPSL-2.0
#
# Firmware for another core than the node's: its compiler is that of the multiconfig micrun-riscv64.
#
#   BBMULTICONFIG = "micrun-riscv64"
SUMMARY = "Bare-metal firmware that does on purpose what guests do by accident, for board qemu-riscv64"
HOMEPAGE = "https://gitee.com/openeuler/micrun"
SECTION = "firmware"
LICENSE = "MulanPSL-2.0"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MulanPSL-2.0;md5=74b1b7a7ee537a16390ed514498bf23c"

inherit micrun-firmware

MICRUN_FIRMWARE_MULTICONFIG = "micrun-riscv64"
MICRUN_FIRMWARE_RECIPE = "test-firmware-qemu-riscv64-elf"
MICRUN_FIRMWARE = "${TOPDIR}/tmp-micrun-riscv64/deploy/images/qemuriscv64/${MICRUN_FIRMWARE_RECIPE}.elf"
MICRUN_FIRMWARE_BOARD = "qemu-riscv64"
MICRUN_FIRMWARE_RTOS = "baremetal"
MICRUN_IMAGE_SET = "Memory=16"

# As the firmware's own recipe says.
CVE_PRODUCT = "micrun-test-firmware"
