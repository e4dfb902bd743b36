# SPDX-License-Identifier: MulanPSL-2.0
require micrun-image.bb

SUMMARY = "micrun-image for a desk: root without a password, ssh, tools, a root that can be written"
DESCRIPTION = "Never for a product."

MICRUN_FORBIDDEN_FEATURES = ""

IMAGE_FEATURES = "\
    allow-empty-password \
    allow-root-login \
    empty-root-password \
    package-management \
    post-install-logging \
    ssh-server-openssh \
    tools-debug \
    ${EXTRA_IMAGE_FEATURES} \
"

# What is on it besides is bigger, too.
MICRUN_SLOT_SIZE = "2048"

IMAGE_INSTALL += "\
    cri-tools \
    micrun-image-builder \
    nerdctl \
"
