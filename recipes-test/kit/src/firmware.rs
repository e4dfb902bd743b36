//! The firmware that tests run: third-party ones that anyone can install, and ours.

use std::path::{Path, PathBuf};

/// One firmware with what it says.
#[derive(Clone, Copy, Debug)]
pub struct Firmware {
    /// As tests name it.
    pub name: &'static str,
    /// A word for ids and tags.
    pub tag: &'static str,
    /// The board profile that boots it.
    pub board: &'static str,
    /// What the builder cannot find in it.
    pub rtos: Option<&'static str>,
    elf: Elf,
    /// The beginning of its first line of its own.
    pub banner: &'static str,
    /// How it takes commands; none if it does not.
    pub shell: Option<Shell>,
}

/// A firmware's command line.
#[derive(Clone, Copy, Debug)]
pub struct Shell {
    /// Shown while it waits for a key before it boots something, if it does: any key then saves that wait.
    pub countdown: Option<&'static str>,
    /// Shown when it is ready for a command.
    pub prompt: &'static str,
    /// A command.
    pub command: &'static str,
    /// Something that only the answer to it holds, neither the banner nor the command's echo.
    pub answer: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Elf {
    /// From a Debian package, at this path.
    Installed(&'static str),
    /// Built from recipes-test/firmware, under this name.
    Built(&'static str),
}

const U_BOOT: Option<Shell> = Some(Shell {
    countdown: Some("Hit any key to stop autoboot"),
    prompt: "=> ",
    command: "version",
    answer: "GNU ld",
});
const OURS: Option<Shell> =
    Some(Shell { countdown: None, prompt: "micrun> ", command: "echo one  two", answer: "\none  two" });

/// U-Boot for QEMU's 64-bit Arm board.
pub const U_BOOT_ARM64: Firmware = Firmware {
    name: "u-boot arm64",
    tag: "u-boot-arm64",
    board: "qemu_arm64",
    rtos: None,
    elf: Elf::Installed("/usr/lib/u-boot/qemu_arm64/uboot.elf"),
    banner: "U-Boot 20",
    shell: U_BOOT,
};

/// Our test firmware on the same board.
pub const OURS_ARM64: Firmware = Firmware {
    name: "test firmware arm64",
    tag: "firmware-arm64",
    board: "qemu_arm64",
    rtos: Some("baremetal"),
    elf: Elf::Built("qemu_arm64.elf"),
    banner: "MicRun test firmware",
    shell: OURS,
};

/// Our test firmware on RISC-V, where QEMU hands its exit code on.
pub const OURS_RISCV64: Firmware = Firmware {
    name: "test firmware riscv64",
    tag: "firmware-riscv64",
    board: "qemu-riscv64",
    elf: Elf::Built("qemu-riscv64.elf"),
    ..OURS_ARM64
};

/// Our test firmware on a microcontroller.
pub const OURS_CORTEX_M3: Firmware = Firmware {
    name: "test firmware cortex-m3",
    tag: "firmware-m3",
    board: "qemu_cortex_m3",
    elf: Elf::Built("qemu_cortex_m3.elf"),
    ..OURS_ARM64
};

/// Our test firmware on a PC, where QEMU's exit status is twice the guest's code plus one.
pub const OURS_X86: Firmware = Firmware {
    name: "test firmware x86",
    tag: "firmware-x86",
    board: "qemu_x86",
    elf: Elf::Built("qemu_x86.elf"),
    ..OURS_ARM64
};

/// Our test firmware in a domain of Xen, on Xen's own console. Watches control/shutdown.
pub const OURS_XEN: Firmware = Firmware {
    name: "test firmware xen",
    tag: "firmware-xen",
    board: "xen_arm64",
    elf: Elf::Built("xen_arm64.elf"),
    ..OURS_ARM64
};

/// Our test firmware in a domain of Xen of which it knows nothing: its console is an emulated UART.
pub const OURS_XEN_VUART: Firmware = Firmware {
    name: "test firmware xen vuart",
    tag: "firmware-xen-vuart",
    board: "xen_arm64_vuart",
    elf: Elf::Built("xen_arm64_vuart.elf"),
    ..OURS_ARM64
};

/// Everything that the tests boot with QEMU.
pub const ALL: [Firmware; 8] = [
    U_BOOT_ARM64,
    Firmware {
        name: "u-boot arm",
        tag: "u-boot-arm",
        board: "qemu_arm",
        elf: Elf::Installed("/usr/lib/u-boot/qemu_arm/uboot.elf"),
        ..U_BOOT_ARM64
    },
    Firmware {
        name: "u-boot riscv64",
        tag: "u-boot-riscv64",
        board: "qemu-riscv64",
        elf: Elf::Installed("/usr/lib/u-boot/qemu-riscv64/uboot.elf"),
        ..U_BOOT_ARM64
    },
    Firmware {
        name: "opensbi",
        tag: "opensbi",
        board: "qemu-riscv64",
        rtos: None,
        elf: Elf::Installed("/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_jump.elf"),
        banner: "OpenSBI v",
        shell: None,
    },
    OURS_ARM64,
    OURS_CORTEX_M3,
    OURS_RISCV64,
    OURS_X86,
];

impl Firmware {
    /// The ELF file; `built` is where recipes-test/firmware was built into.
    pub fn elf(&self, built: &Path) -> PathBuf {
        match self.elf {
            Elf::Installed(path) => path.into(),
            Elf::Built(name) => built.join(name),
        }
    }

    /// The image reference that tests use.
    pub fn image(&self) -> String {
        format!("localhost/{}:test", self.tag)
    }
}
