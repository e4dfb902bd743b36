# SPDX-License-Identifier: MulanPSL-2.0
# The certificate that nodes hold signatures against: ca.cert.pem of whoever builds (kas.yml), before the placeholder of meta-rauc.
FILESEXTRAPATHS:prepend := "${GATEWAY_KEYS}:"
