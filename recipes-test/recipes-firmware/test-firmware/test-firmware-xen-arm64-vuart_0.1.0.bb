# SPDX-License-Identifier: MulanPSL-2.0
#
# Built with OpenEmbedded's own cross compiler, whose core is the node's.
require test-firmware.inc

TEST_FIRMWARE_BOARD = "xen_arm64_vuart"
COMPATIBLE_HOST = "aarch64.*-linux"

inherit micrun-firmware

MICRUN_FIRMWARE = "${TEST_FIRMWARE_ELF}"
MICRUN_FIRMWARE_BOARD = "${TEST_FIRMWARE_BOARD}"
MICRUN_FIRMWARE_RTOS = "baremetal"
MICRUN_IMAGE_SET = "Memory=16"
