# SPDX-License-Identifier: MulanPSL-2.0
#
# The disk of a node that updates itself, for any image recipe:
#
#   inherit core-image micrun-image
#
#   IMAGE_FEATURES = "read-only-rootfs"
#   IMAGE_INSTALL = "packagegroup-core-boot packagegroup-micrun ${MICRUN_NODE_INSTALL}"
#
# It makes the root file system as ext4, which is what update bundles carry, and a disk image with that in slot A, an empty
# slot B and an empty data partition (docs/yocto-images.md has the table). Slot A holds that same ext4 byte for byte.

# What GRUB and the scripts load, and what they are called, is arm64's.
COMPATIBLE_HOST = "aarch64.*-linux"

# MiB of each slot; an update has to fit too, so leave room for the years to come.
MICRUN_SLOT_SIZE ??= "1024"

# MiB of the data partition in the image. What the disk has beyond it is there on the node, too, for whoever grows it.
MICRUN_DATA_SIZE ??= "512"

# MiB of the partition that the firmware reads.
MICRUN_BOOT_SIZE ??= "64"

# The layout, in files/wic.
MICRUN_WKS_FILE ??= "${@'micrun-raspberrypi.wks.in' if micrun_has_u_boot(d) else 'micrun-uefi.wks.in'}"

# What the firmware's partition holds on boards with UEFI: GRUB, the choice between the slots, its state and a copy of that.
MICRUN_ESP_FILES ??= "\
    grub-efi-bootaa64.efi;EFI/BOOT/bootaa64.efi \
    grub.cfg;EFI/BOOT/grub.cfg \
    grubenv;EFI/BOOT/grubenv \
    grubenv;EFI/BOOT/grubenv.copy \
"

# What makes a root file system one that boots from a slot and keeps what it must on the data partition.
MICRUN_NODE_INSTALL = "\
    kernel-image \
    kernel-modules \
    micrun-data \
    ${@bb.utils.contains('DISTRO_FEATURES', 'xen', 'xen packagegroup-micrun-xen', '', d)} \
    ${@bb.utils.contains('DISTRO_FEATURES', 'rauc', 'packagegroup-micrun-ota', '', d)} \
    ${@bb.utils.contains('DISTRO_FEATURES', 'k3s', 'packagegroup-micrun-k3s', '', d)} \
    ${MICRUN_SLOT_BOOT} \
"

# What each slot's own /boot holds beside kernel and hypervisor.
MICRUN_SLOT_BOOT ??= "${@'micrun-u-boot-script libubootenv-bin u-boot-env' if micrun_has_u_boot(d) else 'micrun-grub'}"

# What the disk comes as: by default for whoever writes it to a card.
MICRUN_DISK_TYPES ??= "wic.zst wic.bmap"

IMAGE_FSTYPES = "ext4 ${MICRUN_DISK_TYPES}"
IMAGE_TYPEDEP:wic = "ext4"
WKS_FILE = "${MICRUN_WKS_FILE}"
IMAGE_BOOT_FILES ?= "${MICRUN_ESP_FILES}"

# As it is in the bundle: no line of the disk's own in fstab.
WIC_CREATE_EXTRA_ARGS = "--no-fstab-update"

# The file system has to fit into the slot. OpenEmbedded counts KiB.
IMAGE_ROOTFS_MAXSIZE = "${@int(d.getVar('MICRUN_SLOT_SIZE')) * 1024}"
IMAGE_ROOTFS_EXTRA_SPACE = "0"
# Blocks of 4 KiB are what an adaptive bundle is an index of: RAUC refuses to make one of an image with part of a block at its end.
IMAGE_ROOTFS_ALIGNMENT = "4"

IMAGE_LINGUAS = ""

# An SDK of the image packs firmware, too.
TOOLCHAIN_HOST_TASK:append = " nativesdk-micrun-image-builder"

# Of all that wic could use, what our layouts do. Each board names its boot loader below.
WKS_FILE_DEPENDS = "bmaptool-native dosfstools-native e2fsprogs-native mtools-native"
do_image_wic[depends] += "${@micrun_boot_depends(d)}"

# Machines whose kernel finds its disk with modules have an initramfs, which goes into the slot as well.
MICRUN_INITRD = "${@micrun_initrd(d)}"
do_rootfs[depends] += "${@d.getVar('INITRAMFS_IMAGE') + ':do_image_complete' if d.getVar('MICRUN_INITRD') else ''}"
ROOTFS_POSTPROCESS_COMMAND += "${@'micrun_add_initrd' if d.getVar('MICRUN_INITRD') else ''}"

micrun_add_initrd() {
    install -D -m 0644 ${DEPLOY_DIR_IMAGE}/${MICRUN_INITRD} ${IMAGE_ROOTFS}/boot/initrd
}

def micrun_initrd(d):
    """The name of the initramfs among what was deployed, if the machine has one of its own."""
    image = d.getVar('INITRAMFS_IMAGE')
    if not image or bb.utils.to_boolean(d.getVar('INITRAMFS_IMAGE_BUNDLE')):
        return ''
    return '%s-%s.%s' % (image, d.getVar('MACHINE'), d.getVar('INITRAMFS_FSTYPES').split()[0])

def micrun_has_u_boot(d):
    """Whether U-Boot chooses the slot; else GRUB does. Not an override: that would win over who sets a variable without one."""
    return 'rpi' in d.getVar('MACHINEOVERRIDES').split(':')

def micrun_boot_depends(d):
    """The recipes that deploy what the firmware's partition holds."""
    if micrun_has_u_boot(d):
        return 'micrun-u-boot-script:do_deploy'
    return 'grub-efi:do_deploy micrun-grub:do_deploy'
