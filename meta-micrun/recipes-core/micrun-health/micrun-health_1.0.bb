# SPDX-License-Identifier: MulanPSL-2.0
SUMMARY = "What decides whether a boot was good, and what follows if it was not"
DESCRIPTION = "A health check before boot-complete.target, the way back to the other slot, the watchdog's settings."
LICENSE = "MulanPSL-2.0"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MulanPSL-2.0;md5=74b1b7a7ee537a16390ed514498bf23c"

SRC_URI = "\
    file://boot-complete.conf \
    file://emergency.conf \
    file://micrun-emergency.service \
    file://micrun-good.service \
    file://micrun-health \
    file://micrun-health.service \
    file://micrun-rollback.service \
    file://micrun-verdict \
    file://micrun-watchdog.service \
    file://watchdog.conf \
"
S = "${UNPACKDIR}"

inherit systemd features_check

REQUIRED_DISTRO_FEATURES = "systemd"
SYSTEMD_SERVICE:${PN} = "micrun-good.service micrun-health.service micrun-watchdog.service"

do_install() {
    install -d ${D}${systemd_system_unitdir} ${D}${libexecdir}
    install -m 0644 ${S}/*.service ${D}${systemd_system_unitdir}
    install -m 0755 ${S}/micrun-health ${S}/micrun-verdict ${D}${libexecdir}
    install -D -m 0644 ${S}/boot-complete.conf ${D}${systemd_system_unitdir}/boot-complete.target.d/50-micrun.conf
    install -D -m 0644 ${S}/emergency.conf ${D}${systemd_system_unitdir}/emergency.target.d/50-micrun.conf
    install -D -m 0644 ${S}/watchdog.conf ${D}${systemd_unitdir}/system.conf.d/50-micrun-watchdog.conf
}

FILES:${PN} += "\
    ${systemd_system_unitdir}/*.service \
    ${systemd_system_unitdir}/*.target.d \
    ${systemd_unitdir}/system.conf.d \
"
# containerd has ctr.
RDEPENDS:${PN} = "micrun virtual-containerd"
RRECOMMENDS:${PN} = "kernel-module-xen-wdt"
