//! `local.conf` and `bblayers.conf`, as far as the kinds of builds differ.

use std::path::{Path, PathBuf};

use crate::clones::Clones;

/// What a build directory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All recipes of all layers, to parse and to plan (`bitbake -n`), never to run: the sources are not at hand.
    Whole,
    /// openembedded-core alone, to which `yocto-check-layer` adds a layer and what that depends on.
    Core,
    /// Our recipes alone, built for this machine with its own tools.
    Native,
    /// Our recipes alone, built for an arm64 board with Debian's cross compilers.
    Aarch64,
}

/// The layers of the clones, each after those that it needs.
const LAYERS: [(&str, &str); 11] = [
    ("openembedded-core", "meta"),
    ("meta-openembedded", "meta-oe"),
    ("meta-openembedded", "meta-python"),
    ("meta-openembedded", "meta-networking"),
    ("meta-openembedded", "meta-filesystems"),
    ("meta-virtualization", ""),
    ("meta-arm", "meta-arm-toolchain"),
    ("meta-arm", "meta-arm"),
    ("meta-raspberrypi", ""),
    ("meta-rauc", ""),
    ("meta-yocto", "meta-yocto-bsp"),
];

/// `bblayers.conf`.
pub fn bblayers(kind: Kind, clones: &Clones, own: &[PathBuf]) -> String {
    let count = if kind == Kind::Core { 1 } else { LAYERS.len() };
    let theirs = LAYERS[..count].iter().map(|(name, folder)| {
        let clone = clones.layer(name);
        if folder.is_empty() { clone } else { clone.join(folder) }
    });
    let all = theirs.chain(own.iter().cloned());
    let list: String = all.map(|layer| format!("    {} \\\n", layer.display())).collect();
    format!(
        "POKY_BBLAYERS_CONF_VERSION = \"2\"\nBBPATH = \"${{TOPDIR}}\"\nBBFILES ?= \"\"\nBBLAYERS = \" \\\n{list}\"\n"
    )
}

/// `local.conf`, to which a test may add lines.
pub fn local(kind: Kind, downloads: &Path) -> String {
    let special = match kind {
        Kind::Whole => WHOLE.to_owned(),
        Kind::Core => "INIT_MANAGER = \"systemd\"\n".to_owned(),
        Kind::Native => OWN.to_owned(),
        Kind::Aarch64 => format!("{OWN}{AARCH64}"),
    };
    format!("{COMMON}DL_DIR = \"{}\"\n{special}", downloads.display())
}

const COMMON: &str = r#"CONF_VERSION = "2"
MACHINE ?= "qemuarm64"
DISTRO ?= "nodistro"
# No sstate server, no hash server, no prebuilt libc: nothing that another machine would have to give.
INHERIT:remove = "uninative"
BB_HASHSERVE = ""
BB_SIGNATURE_HANDLER = "OEBasicHash"
SSTATE_DIR = "${TOPDIR}/sstate"
BB_DISKMON_DIRS = ""
CONNECTIVITY_CHECK_URIS = ""
PATCHRESOLVE = "noop"
"#;

const WHOLE: &str = r#"INIT_MANAGER ?= "systemd"
DISTRO_FEATURES:append = " rauc seccomp virtualization xen"
"#;

/// The recipes of all others are masked: what they would build, the machine has.
const OWN: &str = r#"BBMASK += "/openembedded-core/meta/recipes- /meta-openembedded/ /meta-virtualization/ /meta-arm/"
BBMASK += "/meta-raspberrypi/ /meta-rauc/ /meta-yocto/ /dynamic-layers/"
# Those of masked recipes append to nothing, which is an error.
BBMASK += "\.bbappend$"
# All that is not here comes from git; see the downloads folder for the crates.
BB_NO_NETWORK ?= "1"
INIT_MANAGER = "systemd"
DISTRO_FEATURES:append = " ptest"
HOSTTOOLS += "cargo rustc nativepython3 pseudo"
# Optimising takes longer than everything else, and changes nothing that is looked at here.
CARGO_PROFILE_RELEASE_LTO = "off"
CARGO_PROFILE_RELEASE_CODEGEN_UNITS = "16"
export CARGO_PROFILE_RELEASE_OPT_LEVEL = "0"
ASSUME_PROVIDED += "cargo-native python3-native quilt-native rust-native systemd-systemctl-native"
"#;

const AARCH64: &str = r#"TARGET_VENDOR = "-unknown"
TARGET_PREFIX = "aarch64-linux-gnu-"
TOOLCHAIN_OPTIONS = ""
PACKAGE_CLASSES = "package_deb"
HOSTTOOLS += "dpkg dpkg-deb"
HOSTTOOLS += "aarch64-linux-gnu-ar aarch64-linux-gnu-as aarch64-linux-gnu-cpp aarch64-linux-gnu-g++"
HOSTTOOLS += "aarch64-linux-gnu-gcc aarch64-linux-gnu-ld aarch64-linux-gnu-nm aarch64-linux-gnu-objcopy"
HOSTTOOLS += "aarch64-linux-gnu-objdump aarch64-linux-gnu-ranlib aarch64-linux-gnu-readelf"
HOSTTOOLS += "aarch64-linux-gnu-strings aarch64-linux-gnu-strip"
HOSTTOOLS += "aarch64-linux-gnu-gcc-ar aarch64-linux-gnu-gcc-nm aarch64-linux-gnu-gcc-ranlib"
ASSUME_PROVIDED += "binutils-cross-aarch64 gcc-cross-aarch64 libstd-rs"
ASSUME_PROVIDED += "virtual/cross-binutils virtual/cross-c++ virtual/cross-cc virtual/compilerlibs virtual/libc"
ASSUME_PROVIDED += "elfutils-native opkg-utils-native patch-replacement-native patchelf-native texinfo-dummy-native"
# Both want tools that would have to be built: dwarfsrcfiles and rpmdeps.
INHIBIT_PACKAGE_DEBUG_SPLIT = "1"
SKIP_FILEDEPS = "1"
# Debian's pseudo.
PREFERRED_PROVIDER_virtual/fakeroot-native = "stand-in-native"
PSEUDO_SYSROOT = ""
FAKEROOTCMD = "/usr/bin/pseudo"
FAKEROOTBASEENV = "PSEUDO_DISABLED=1 PYTHONDONTWRITEBYTECODE=1 PSEUDO_PREFIX=/usr"
"#;
