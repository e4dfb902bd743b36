# SPDX-License-Identifier: MulanPSL-2.0
SUMMARY = "What a node with a read-only root writes, on a partition that outlives updates"
DESCRIPTION = "Mounts of the data partition and of the EFI system partition; /var, and overlays of what is written below /etc."
LICENSE = "MulanPSL-2.0"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MulanPSL-2.0;md5=74b1b7a7ee537a16390ed514498bf23c"

MOUNTS = "boot-efi.mount data.mount etc-mica.mount etc-rancher.mount etc-xen.mount var.mount"
SRC_URI = "\
    file://journal.conf \
    file://micrun-boot-env \
    file://micrun-boot-env.service \
    file://micrun-data \
    file://micrun-data.service \
    ${@' '.join('file://' + unit for unit in d.getVar('MOUNTS').split())} \
"
S = "${UNPACKDIR}"

inherit systemd features_check

REQUIRED_DISTRO_FEATURES = "systemd"
SYSTEMD_SERVICE:${PN} = "micrun-boot-env.service ${MOUNTS}"

do_install() {
    install -d ${D}${systemd_system_unitdir} ${D}${libexecdir} ${D}/data
    install -m 0644 ${S}/*.service ${S}/*.mount ${D}${systemd_system_unitdir}
    install -m 0755 ${S}/micrun-boot-env ${S}/micrun-data ${D}${libexecdir}
    install -D -m 0644 ${S}/journal.conf ${D}${systemd_unitdir}/journald.conf.d/50-micrun.conf
    # An overlay needs the folder that it lies on.
    install -d ${D}${sysconfdir}/mica
}

FILES:${PN} += "\
    /data \
    ${sysconfdir}/mica \
    ${systemd_system_unitdir}/micrun-data.service \
    ${systemd_unitdir}/journald.conf.d \
"
# After a power cut both partitions are checked before they are mounted.
RDEPENDS:${PN} = "e2fsprogs-e2fsck"
RRECOMMENDS:${PN} = "dosfstools kernel-module-overlay"
