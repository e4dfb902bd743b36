# SPDX-License-Identifier: MulanPSL-2.0
#
# Firmware that somebody else has built: U-Boot as Debian packages it, taken as it is.
SUMMARY = "U-Boot as a guest, with its own command line"
HOMEPAGE = "https://www.denx.de/wiki/U-Boot"
SECTION = "firmware"
LICENSE = "GPL-2.0-or-later"
LIC_FILES_CHKSUM = "file://usr/share/doc/u-boot-qemu/copyright;md5=6d6993bfdff4496b4d613d1321e25048"

SRC_URI = "${DEBIAN_MIRROR}/main/u/u-boot/u-boot-qemu_${PV}+dfsg-2+deb12u3_all.deb;subdir=${BP}"
SRC_URI[sha256sum] = "02a14f0876b76c0d7d7934e9b83a77515c5bdbad1e00af84c445bfeb1e6b8665"

inherit micrun-firmware

MICRUN_FIRMWARE = "${S}/usr/lib/u-boot/qemu_arm64/uboot.elf"
MICRUN_FIRMWARE_BOARD = "qemu_arm64"

CVE_PRODUCT = "denx:u-boot"
