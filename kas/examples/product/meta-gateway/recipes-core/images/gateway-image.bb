# SPDX-License-Identifier: MulanPSL-2.0
require recipes-core/images/micrun-image.bb

SUMMARY = "What a gateway ships with"
DESCRIPTION = "MicRun's production image, with the firmware of this product and sshd for its service."
LICENSE = "MulanPSL-2.0"

# sshd alone lets nobody in. Whose keys it takes, and host keys that stay the same (on a read-only root, sshd makes new ones at each
# boot), are a product's secrets: a recipe of its own installs them.
IMAGE_INSTALL += "\
    motor-control \
    openssh-sshd \
"
