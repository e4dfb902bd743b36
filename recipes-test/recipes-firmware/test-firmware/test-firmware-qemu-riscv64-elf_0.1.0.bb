# SPDX-License-Identifier: MulanPSL-2.0
#
# The ELF file alone, for test-firmware-qemu-riscv64, which packs it in the configuration of the node.
require test-firmware.inc

TEST_FIRMWARE_BOARD = "qemu-riscv64"
COMPATIBLE_HOST = "riscv64.*"

inherit deploy nopackages

PACKAGE_ARCH = "${MACHINE_ARCH}"

do_install[noexec] = "1"

do_deploy() {
    install -m 0644 ${TEST_FIRMWARE_ELF} ${DEPLOYDIR}/${PN}.elf
}
addtask deploy after do_compile before do_build
