# SPDX-License-Identifier: MulanPSL-2.0
require recipes-core/images/micrun-image.bb

SUMMARY = "What a gateway ships with"
DESCRIPTION = "MicRun's production image, with the firmware of this product and a way in for its service."
LICENSE = "MulanPSL-2.0"

IMAGE_INSTALL += "\
    motor-control \
    openssh-sshd \
"
