# SPDX-License-Identifier: MulanPSL-2.0
SUMMARY = "A/B boot with GRUB"
DESCRIPTION = "grub.cfg, for the EFI system partition, counts boots and chooses a slot; boot.cfg, in each root file system, boots \
it. grubenv is what GRUB remembers when the node leaves the factory. docs/ota.md has the whole."
LICENSE = "MulanPSL-2.0"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MulanPSL-2.0;md5=74b1b7a7ee537a16390ed514498bf23c"

SRC_URI = "file://grub.cfg file://boot.cfg file://boot-args.cfg.in file://grubenv.in"
S = "${UNPACKDIR}"
B = "${WORKDIR}/build"

# What grub-efi would take from oe-core's grub-bootconf: one menu entry for one root file system.
RPROVIDES:${PN} = "virtual-grub-bootconf"
PACKAGE_ARCH = "${MACHINE_ARCH}"
INHIBIT_DEFAULT_DEPS = "1"

# Others' images keep the boot loader's configuration that they have.
REQUIRED_DISTRO_FEATURES = "micrun"
COMPATIBLE_HOST = "aarch64.*-linux"

inherit deploy features_check micrun-boot

# As grub-editenv has it: 1024 bytes, the rest is "#".
do_compile() {
    sed -e 's|@XEN_ARGS@|${MICRUN_XEN_ARGS}|' \
        -e 's|@DOM0_ARGS@|${MICRUN_DOM0_ARGS}|' \
        -e 's|@KERNEL_ARGS@|${MICRUN_KERNEL_ARGS}|' \
        ${S}/boot-args.cfg.in > ${B}/boot-args.cfg
    { cat ${S}/grubenv.in; head -c 1024 /dev/zero | tr '\0' '#'; } | head -c 1024 > ${B}/grubenv
}

# The folder is where the EFI system partition is mounted.
do_install() {
    install -d ${D}/boot/efi
    install -m 0644 ${S}/boot.cfg ${B}/boot-args.cfg ${D}/boot/
}

do_deploy() {
    install -D -m 0644 ${S}/grub.cfg ${DEPLOYDIR}/grub.cfg
    install -D -m 0644 ${B}/grubenv ${DEPLOYDIR}/grubenv
}
addtask deploy after do_compile before do_build

FILES:${PN} = "/boot"
RDEPENDS:${PN} = "grub-editenv"
