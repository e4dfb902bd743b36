# SPDX-License-Identifier: MulanPSL-2.0
SUMMARY = "Guests that a node runs without Kubernetes, as files declare them"
DESCRIPTION = "Units that bring the guests of a node to what is declared: at boot, and when a declaration or an image changes."
LICENSE = "MulanPSL-2.0"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MulanPSL-2.0;md5=74b1b7a7ee537a16390ed514498bf23c"

SRC_URI = "\
    file://example.toml.example \
    file://micrun-guests-again.service \
    file://micrun-guests-stop.service \
    file://micrun-guests.logrotate \
    file://micrun-guests.path \
    file://micrun-guests.service \
"
S = "${UNPACKDIR}"

inherit features_check systemd

REQUIRED_DISTRO_FEATURES = "systemd"
SYSTEMD_SERVICE:${PN} = "micrun-guests.service micrun-guests.path micrun-guests-stop.service"

do_install() {
    install -d ${D}${systemd_system_unitdir}
    install -m 0644 ${S}/micrun-guests*.service ${S}/micrun-guests.path ${D}${systemd_system_unitdir}
    install -D -m 0644 ${S}/micrun-guests.logrotate ${D}${sysconfdir}/logrotate.d/micrun-guests
    # Recipes of products put their declarations here, beside the images.
    install -d ${D}${datadir}/micrun/guests.d
    install -D -m 0644 ${S}/example.toml.example ${D}${docdir}/${BPN}/example.toml
}

FILES:${PN} += "${systemd_system_unitdir} ${datadir}/micrun/guests.d"
CONFFILES:${PN} = "${sysconfdir}/logrotate.d/micrun-guests"
RDEPENDS:${PN} = "micrun micrun-import"
RRECOMMENDS:${PN} = "logrotate"
