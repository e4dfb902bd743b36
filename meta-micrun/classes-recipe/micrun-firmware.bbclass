# SPDX-License-Identifier: MulanPSL-2.0
#
# Checks the firmware of an RTOS as a compiler would, and packs it into an image that containerd runs with MicRun.
#
# A complete recipe, for an ELF file that somebody else has built:
#
#   SUMMARY = "Motor control of the gateway"
#   LICENSE = "CLOSED"
#
#   SRC_URI = "https://downloads.example.org/motor/motor-${PV}.elf"
#   SRC_URI[sha256sum] = "0000000000000000000000000000000000000000000000000000000000000000"
#   S = "${UNPACKDIR}"
#
#   inherit micrun-firmware
#
#   MICRUN_FIRMWARE = "${S}/motor-${PV}.elf"
#   MICRUN_FIRMWARE_BOARD = "xen_arm64"
#   MICRUN_IMAGE_TAG = "registry.example.org/plant/motor:${PV}"
#   MICRUN_IMAGE_SET = "Memory=16 VCPU=1"
#
#   # What is in it, for whoever looks for known flaws.
#   CVE_PRODUCT = "zephyrproject:zephyr"
#   CVE_VERSION = "4.2.0"
#
# IMAGE_INSTALL:append = " motor" brings /usr/share/micrun/images/motor.tar to the node, where micrun-import hands it to
# containerd. DEPLOY_DIR_IMAGE gets motor.elf for debuggers, motor.oci.tar for registries and bundles, motor.digest.
#
# The recipe may as well build the ELF file in do_compile, or take it from a recipe of another multiconfig, whose
# compiler is that of another core:
#
#   MICRUN_FIRMWARE_MULTICONFIG = "mcu"
#   MICRUN_FIRMWARE_RECIPE = "motor-elf"
#   MICRUN_FIRMWARE = "${TOPDIR}/tmp-mcu/deploy/images/my-mcu/motor.elf"
#
# docs/firmware-recipes.md has more of each. Lists are split as a shell does: a value with blanks stands in quotes.

MICRUN_FIRMWARE ?= ""
MICRUN_FIRMWARE[doc] = "Path of the ELF file that the linker wrote; or of a raw binary or Intel HEX file, with MICRUN_FIRMWARE_RAW."
# The other multiconfig's folder is below this build's: where that is changes nothing.
MICRUN_FIRMWARE[vardepsexclude] = "TOPDIR"
MICRUN_FIRMWARE_BOARD ?= ""
MICRUN_FIRMWARE_BOARD[doc] = "Board profile that it runs on. Empty: the usual one for its RTOS and architecture."
MICRUN_FIRMWARE_PEDESTAL ?= ""
MICRUN_FIRMWARE_PEDESTAL[doc] = "What runs it: qemu, xen, baremetal, jailhouse, hetero, remoteproc. Empty: the board's first."
MICRUN_FIRMWARE_RTOS ?= ""
MICRUN_FIRMWARE_RTOS[doc] = "Name of the RTOS, a lower-case word. Empty: as recognised in the file."
MICRUN_FIRMWARE_RAW ?= ""
MICRUN_FIRMWARE_RAW[doc] = "What a raw binary does not say, as options: --arch arm --load-address 0x8000000 --entry 0x8000101."
MICRUN_FIRMWARE_ALLOW ?= ""
MICRUN_FIRMWARE_ALLOW[doc] = "Codes of findings that are warnings instead of errors, such as MIC303."
MICRUN_FIRMWARE_DENY_WARNINGS ?= "0"
MICRUN_FIRMWARE_DENY_WARNINGS[doc] = "With 1, warnings fail the build, too."
MICRUN_FIRMWARE_MULTICONFIG ?= ""
MICRUN_FIRMWARE_MULTICONFIG[doc] = "The multiconfig whose MICRUN_FIRMWARE_RECIPE deploys the file. Without it in BBMULTICONFIG, this recipe is skipped."
MICRUN_FIRMWARE_RECIPE ?= ""
MICRUN_FIRMWARE_RECIPE[doc] = "The recipe that deploys the file in MICRUN_FIRMWARE_MULTICONFIG."
MICRUN_BOARDS_DIR ?= "${RECIPE_SYSROOT}${sysconfdir}/mica/micrun/boards.d"
MICRUN_BOARDS_DIR[doc] = "Directory with further board profiles: by default those that recipes in DEPENDS stage."

MICRUN_IMAGE_NAME ?= "${BPN}"
MICRUN_IMAGE_NAME[doc] = "What the files are called that come out of this."
MICRUN_IMAGE_TAG ?= "localhost/${MICRUN_IMAGE_NAME}:${PV}"
MICRUN_IMAGE_TAG[doc] = "Name of the image for containerd and registries, NAME[:TAG]."
MICRUN_IMAGE_PLATFORM ?= "linux/${@oe.go.map_arch(d.getVar('TARGET_ARCH'))}"
MICRUN_IMAGE_PLATFORM[doc] = "Platform of the node, not of the firmware: containerd takes no image for another one."
MICRUN_IMAGE_SET ?= ""
MICRUN_IMAGE_SET[doc] = "Keys of client.conf: Memory=16 VCPU=1."
MICRUN_IMAGE_CLIENT_CONF ?= ""
MICRUN_IMAGE_CLIENT_CONF[doc] = "A client.conf whose values are taken where nothing above says something else."
MICRUN_IMAGE_ANNOTATIONS ?= ""
MICRUN_IMAGE_ANNOTATIONS[doc] = "Annotations of the image: org.opencontainers.image.vendor='Example Works'."
MICRUN_IMAGE_BOOT_IMAGE ?= ""
MICRUN_IMAGE_BOOT_IMAGE[doc] = "Boot image for the pedestals xen and hetero. Empty: made from the ELF file."
MICRUN_IMAGE_SBOM ?= "generate"
MICRUN_IMAGE_SBOM[doc] = "Bills of materials that go with the image: SPDX files of the firmware's build, or generate."
MICRUN_IMAGE_OPTIONS ?= ""
MICRUN_IMAGE_OPTIONS[doc] = "Further options of micrun-image-builder pack, such as --strip."
# Not SOURCE_DATE_EPOCH: guests are updated when the digest changes, and the date of a source must not do that.
MICRUN_IMAGE_EPOCH ?= ""
MICRUN_IMAGE_EPOCH[doc] = "When the image says that it was made, in seconds since 1970; a part of its digest. Empty: it says nothing."
MICRUN_IMAGE_DIR ?= "${datadir}/micrun/images"
MICRUN_IMAGE_DIR[doc] = "Where the node keeps its archives."

MICRUN_GUEST ?= ""
MICRUN_GUEST[doc] = "A file that declares guests of this image, for nodes that start them at boot. Empty: the image is there, and nobody starts it."
MICRUN_GUEST_DIR ?= "${datadir}/micrun/guests.d"
MICRUN_GUEST_DIR[doc] = "Where the node looks for guests that the product declares."

DEPENDS:append = " micrun-image-builder-native"
# Firmware is not linked with what the node's programs are linked with. Who builds it here names the compiler:
# DEPENDS += "virtual/cross-cc virtual/cross-binutils".
INHIBIT_DEFAULT_DEPS ?= "1"
EXCLUDE_FROM_SHLIBS = "1"

# Board, pedestal and memory are those of a machine, and so is DEPLOY_DIR_IMAGE.
PACKAGE_ARCH = "${MACHINE_ARCH}"

# The firmware is a package of its own, and with create-spdx an element of its own of the image's bill of materials.
PACKAGES = "${PN}"
FILES:${PN} = "${MICRUN_IMAGE_DIR} ${MICRUN_GUEST_DIR}"
SPDX_PACKAGE_ADDITIONAL_PURPOSE:${PN} = "firmware"

inherit deploy

# Where the archive waits for do_install and do_deploy.
MICRUN_PACKED = "${WORKDIR}/micrun-image"

python () {
    multiconfig, recipe = d.getVar("MICRUN_FIRMWARE_MULTICONFIG"), d.getVar("MICRUN_FIRMWARE_RECIPE")
    if not multiconfig:
        return
    if multiconfig not in (d.getVar("BBMULTICONFIG") or "").split():
        raise bb.parse.SkipRecipe("its firmware is built by %s of multiconfig %s: BBMULTICONFIG does not list that" % (recipe, multiconfig))
    wanted = "mc:%s:%s:%s:do_deploy" % (d.getVar("BB_CURRENT_MC") or "", multiconfig, recipe)
    d.appendVarFlag("do_micrun_check", "mcdepends", " " + wanted)
}

def micrun_firmware(d):
    """The firmware, which has to be there by now."""
    firmware = d.getVar("MICRUN_FIRMWARE")
    if not firmware:
        bb.fatal("MICRUN_FIRMWARE is not set: it names the ELF file, such as ${S}/build/zephyr/zephyr.elf")
    if not os.path.isfile(firmware):
        bb.fatal("MICRUN_FIRMWARE is %s: there is no such file" % firmware)
    return firmware

def micrun_list(option, value):
    """An option for each word of a list."""
    import shlex

    words = []
    for word in shlex.split(value or ""):
        words += [option, word]
    return words

def micrun_facts(d):
    """What `check` and `pack` both want to know."""
    import shlex

    boards = d.getVar("MICRUN_BOARDS_DIR")
    if not os.path.isdir(boards):
        # Never those of the build host, which are the builder's own default.
        boards = d.expand("${WORKDIR}/micrun-no-boards")
        bb.utils.mkdirhier(boards)
    facts = ["--boards-dir", boards]
    for option, value in (
        ("--board", d.getVar("MICRUN_FIRMWARE_BOARD")),
        ("--pedestal", d.getVar("MICRUN_FIRMWARE_PEDESTAL")),
        ("--rtos", d.getVar("MICRUN_FIRMWARE_RTOS")),
    ):
        if value:
            facts += [option, value]
    facts += shlex.split(d.getVar("MICRUN_FIRMWARE_RAW") or "")
    return facts + micrun_list("--allow", d.getVar("MICRUN_FIRMWARE_ALLOW"))

def micrun_builder(d, command, options):
    """What the image builder says, as JSON. Exit status 1 is a verdict, anything above is our mistake."""
    import json
    import subprocess

    builder = d.expand("${STAGING_BINDIR_NATIVE}/micrun-image-builder")
    line = [builder, command, micrun_firmware(d)] + options + ["--format", "json"]
    bb.note("running %s" % " ".join(line))
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    if d.getVar("MICRUN_IMAGE_EPOCH"):
        environment["SOURCE_DATE_EPOCH"] = d.getVar("MICRUN_IMAGE_EPOCH")
    done = subprocess.run(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        bb.fatal("micrun-image-builder %s: %s" % (command, done.stderr.strip() or "exit status %d" % done.returncode))

def micrun_tell(finding):
    """A finding as bitbake shows what a compiler says."""
    place = finding["part"] or ""
    if finding["place"]:
        place = ", ".join([place] * bool(place) + ["%s %s" % pair for pair in finding["place"].items()])
    told = "%s: %s%s" % (finding["code"], finding["message"], " (%s)" % place if place else "")
    if finding["remedy"]:
        told += "\n  " + finding["remedy"].replace("\n", "\n  ")
    {"error": bb.error, "warning": bb.warn}.get(finding["severity"], bb.note)(told)

python do_micrun_check() {
    deny = ["--deny-warnings"] if bb.utils.to_boolean(d.getVar("MICRUN_FIRMWARE_DENY_WARNINGS")) else []
    status, report = micrun_builder(d, "check", micrun_facts(d) + deny)
    for finding in report["findings"]:
        micrun_tell(finding)
    if status != 0:
        bb.fatal("%s: %d errors, %d warnings; MICRUN_FIRMWARE_ALLOW turns errors into warnings" % (d.getVar("MICRUN_FIRMWARE"), report["errors"], report["warnings"]))
}
addtask micrun_check after do_compile before do_micrun_pack

python do_micrun_pack() {
    import shlex

    archive = d.expand("${MICRUN_PACKED}/${MICRUN_IMAGE_NAME}.oci.tar")
    options = micrun_facts(d) + ["--output", "oci-archive:" + archive]
    for option, value in (
        ("--tag", d.getVar("MICRUN_IMAGE_TAG")),
        ("--platform", d.getVar("MICRUN_IMAGE_PLATFORM")),
        ("--client-conf", d.getVar("MICRUN_IMAGE_CLIENT_CONF")),
        ("--boot-image", d.getVar("MICRUN_IMAGE_BOOT_IMAGE")),
    ):
        if value:
            options += [option, value]
    options += micrun_list("--set", d.getVar("MICRUN_IMAGE_SET"))
    options += micrun_list("--annotation", d.getVar("MICRUN_IMAGE_ANNOTATIONS"))
    options += micrun_list("--sbom", d.getVar("MICRUN_IMAGE_SBOM"))
    options += shlex.split(d.getVar("MICRUN_IMAGE_OPTIONS") or "")
    status, report = micrun_builder(d, "pack", options)
    if status != 0:
        # What the options bring in, such as a boot image, is looked at here only.
        for finding in report["findings"]:
            micrun_tell(finding)
        bb.fatal("%s was not packed" % d.getVar("MICRUN_FIRMWARE"))
    with open(d.expand("${MICRUN_PACKED}/${MICRUN_IMAGE_NAME}.digest"), "w") as file:
        file.write(report["image"]["digest"] + "\n")
    bb.note("packed %s, %s" % (report["image"]["name"]["value"], report["image"]["digest"]))
}
do_micrun_pack[cleandirs] = "${MICRUN_PACKED}"
addtask micrun_pack after do_micrun_check before do_install

# The archive alone: a foreign ELF file is none of the node's programs, and package QA would say so.
do_install:append() {
    install -d ${D}${MICRUN_IMAGE_DIR}
    install -m 0644 ${MICRUN_PACKED}/${MICRUN_IMAGE_NAME}.oci.tar ${D}${MICRUN_IMAGE_DIR}/${MICRUN_IMAGE_NAME}.tar
    if [ -n "${MICRUN_GUEST}" ]; then
        install -d ${D}${MICRUN_GUEST_DIR}
        install -m 0644 ${MICRUN_GUEST} ${D}${MICRUN_GUEST_DIR}/${MICRUN_IMAGE_NAME}.toml
    fi
}

do_deploy() {
    install -d ${DEPLOYDIR}
    install -m 0644 ${MICRUN_FIRMWARE} ${DEPLOYDIR}/${MICRUN_IMAGE_NAME}.${@os.path.splitext(d.getVar('MICRUN_FIRMWARE'))[1].lstrip('.') or 'elf'}
    install -m 0644 ${MICRUN_PACKED}/${MICRUN_IMAGE_NAME}.oci.tar ${MICRUN_PACKED}/${MICRUN_IMAGE_NAME}.digest ${DEPLOYDIR}/
}
addtask deploy after do_micrun_pack before do_build
