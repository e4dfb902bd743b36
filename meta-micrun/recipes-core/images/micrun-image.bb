# SPDX-License-Identifier: MulanPSL-2.0
SUMMARY = "A node that runs firmware as containers, as a product ships it"
DESCRIPTION = "Read-only root in two slots, no package manager, no shell on the network, no password. Nobody can log in: a product \
adds its own way in."
LICENSE = "MulanPSL-2.0"

inherit core-image micrun-image

# A product's image has none of what local.conf may add to all images on a developer's machine.
MICRUN_FORBIDDEN_FEATURES ?= "\
    allow-empty-password \
    allow-root-login \
    empty-root-password \
    package-management \
    post-install-logging \
    serial-autologin-root \
    tools-debug \
    tools-sdk \
"

IMAGE_FEATURES = "read-only-rootfs"

IMAGE_INSTALL = "\
    packagegroup-core-boot \
    packagegroup-micrun \
    packagegroup-micrun-mcs \
    ${MICRUN_NODE_INSTALL} \
    ${CORE_IMAGE_EXTRA_INSTALL} \
"

python () {
    # What is to be added to all images is looked at, too, though it would not get in here: whoever asks for it is told.
    asked = set(d.getVar('IMAGE_FEATURES').split()) | set(d.getVar('EXTRA_IMAGE_FEATURES').split())
    wrong = asked & set(d.getVar('MICRUN_FORBIDDEN_FEATURES').split())
    if wrong:
        raise bb.parse.SkipRecipe('%s is for products and has no %s: build micrun-image-dev, or take it out of '
                                  'EXTRA_IMAGE_FEATURES' % (d.getVar('PN'), ', '.join(sorted(wrong))))
}
