# SPDX-License-Identifier: MulanPSL-2.0
require dynamic-layers/rauc/recipes-core/bundles/micrun-bundle.bb

SUMMARY = "An update of a gateway"
LICENSE = "MulanPSL-2.0"
MICRUN_BUNDLE_IMAGE = "gateway-image"
