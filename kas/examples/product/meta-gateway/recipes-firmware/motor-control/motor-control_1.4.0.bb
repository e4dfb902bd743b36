# SPDX-License-Identifier: MulanPSL-2.0
SUMMARY = "Motor control of the gateway"
DESCRIPTION = "Zephyr firmware that the motor team builds and publishes. Here it is checked, packed and declared as a guest."
HOMEPAGE = "https://example.com/gateway"
SECTION = "firmware"
LICENSE = "CLOSED"

SRC_URI = "\
    https://downloads.example.com/motor-control/motor-control-${PV}.elf \
    file://motor-control.toml \
"
SRC_URI[sha256sum] = "0000000000000000000000000000000000000000000000000000000000000000"
S = "${UNPACKDIR}"

CVE_PRODUCT = "zephyrproject:zephyr"
CVE_VERSION = "4.2.0"

inherit micrun-firmware

MICRUN_FIRMWARE = "${S}/motor-control-${PV}.elf"
MICRUN_FIRMWARE_BOARD = "xen_arm64"
MICRUN_IMAGE_TAG = "registry.example.com/gateway/motor-control:${PV}"
MICRUN_IMAGE_SET = "Memory=16 VCPU=1"

# Started at boot, without Kubernetes.
MICRUN_GUEST = "${UNPACKDIR}/motor-control.toml"
