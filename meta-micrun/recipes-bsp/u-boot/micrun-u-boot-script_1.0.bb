# SPDX-License-Identifier: MulanPSL-2.0
SUMMARY = "A/B boot with U-Boot"
DESCRIPTION = "Two scripts: boot.scr, for the firmware's partition, counts boots and chooses a slot; slot.scr, in each root file \
system, boots it."
LICENSE = "MulanPSL-2.0"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MulanPSL-2.0;md5=74b1b7a7ee537a16390ed514498bf23c"

SRC_URI = "file://boot.cmd file://slot.cmd.in"
S = "${UNPACKDIR}"
B = "${WORKDIR}/build"

DEPENDS = "u-boot-mkimage-native"
PROVIDES = "u-boot-default-script"
COMPATIBLE_MACHINE = "^rpi$"
PACKAGE_ARCH = "${MACHINE_ARCH}"
INHIBIT_DEFAULT_DEPS = "1"

# Others' images keep the script that they have.
REQUIRED_DISTRO_FEATURES = "micrun"

inherit kernel-arch deploy features_check micrun-boot

do_compile() {
    sed -e 's|@XEN_ARGS@|${MICRUN_XEN_ARGS}|' \
        -e 's|@DOM0_ARGS@|${MICRUN_DOM0_ARGS}|' \
        -e 's|@KERNEL_ARGS@|${MICRUN_KERNEL_ARGS}|' \
        ${S}/slot.cmd.in > ${B}/slot.cmd
    mkimage -A ${UBOOT_ARCH} -T script -C none -n "MicRun slot" -d ${B}/slot.cmd ${B}/slot.scr
    mkimage -A ${UBOOT_ARCH} -T script -C none -n "MicRun boot" -d ${S}/boot.cmd ${B}/boot.scr
}

# The folder is where the firmware's partition is mounted.
do_install() {
    install -d ${D}/boot/efi
    install -D -m 0644 ${B}/slot.scr ${D}/boot/slot.scr
}

do_deploy() {
    install -D -m 0644 ${B}/boot.scr ${DEPLOYDIR}/boot.scr
}
addtask deploy after do_compile before do_build

FILES:${PN} = "/boot"
