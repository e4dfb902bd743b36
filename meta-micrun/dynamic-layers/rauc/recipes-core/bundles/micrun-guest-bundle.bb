# SPDX-License-Identifier: MulanPSL-2.0
SUMMARY = "An update of guests alone, for nodes without a registry"
DESCRIPTION = "Carries OCI archives as artifacts. RAUC puts each under its name into the node's repository for guests; the declared guest \
that names that file is then updated, and goes back by itself if the new firmware does not become healthy."

# Recipes that inherit micrun-firmware. Each deploys its archive, and its artifact has the recipe's name.
MICRUN_BUNDLE_GUESTS ?= ""

# Before the class below, which reads what this sets.
python () {
    guests = d.getVar('MICRUN_BUNDLE_GUESTS').split()
    if not guests:
        raise bb.parse.SkipRecipe('MICRUN_BUNDLE_GUESTS names no recipe of firmware')
    for guest in guests:
        slot = 'RAUC_SLOT_guests/%s' % guest
        d.setVar(slot, guest)
        d.setVarFlag(slot, 'type', 'file')
        d.setVarFlag(slot, 'file', '%s.oci.tar' % guest)
    d.setVar('RAUC_BUNDLE_SLOTS', ' '.join('guests/%s' % guest for guest in guests))
}

require micrun-bundle.inc
