# SPDX-License-Identifier: MulanPSL-2.0
#
# kas/include/test.yml builds it and, in QEMU, runs its tests.
require recipes-core/images/micrun-image-dev.bb

SUMMARY = "micrun-image-dev with firmware to run, for OpenEmbedded's runtime tests"

# A guest for what the node has: Xen, or QEMU under Linux.
MICRUN_TEST_FIRMWARE = "${@bb.utils.contains('DISTRO_FEATURES', 'xen', 'test-firmware-xen-arm64', 'test-firmware-qemu-arm64', d)}"
MICRUN_TEST_FIRMWARE_VERSION = "0.1.0"

IMAGE_INSTALL += "\
    micad-sim \
    ${MICRUN_TEST_FIRMWARE} \
    ${@bb.utils.contains('DISTRO_FEATURES', 'xen', '', 'qemu-system-aarch64', d)} \
"

# What the cases start, see lib/oeqa/runtime/cases.
MICRUN_TEST_GUEST = "localhost/${MICRUN_TEST_FIRMWARE}:${MICRUN_TEST_FIRMWARE_VERSION}"
TEST_SUITES = "ping ssh systemd micrun micrun_ota"
