//! What mending a finding looks like, for `check --explain`. Codes whose remedy is said in their explanation have none.

use super::Code;

impl Code {
    /// A few lines of a linker script, of a shell or of client.conf that show the remedy.
    pub fn example(self) -> Option<&'static str> {
        Some(match self {
            Code::NotElf => "pack build/zephyr/zephyr.elf   # not zephyr.bin or zephyr.hex",
            Code::DynamicLinuxProgram | Code::StaticLinuxProgram => {
                "aarch64-none-elf-gcc -nostdlib -static -T board.ld start.S main.c -o app.elf"
            }
            Code::Relocatable => "arm-none-eabi-ld -T board.ld start.o main.o -o app.elf",
            Code::LaidOutForLinux => "ld.lld --nmagic -T board.ld start.o main.o -o app.elf",
            Code::EntryOutside => {
                "/* in the linker script */\nENTRY(_start)\nSECTIONS { .text : { *(.start) *(.text*) } > RAM }"
            }
            Code::LoadOverlap => {
                "/* in the linker script: .data is loaded behind .text, not upon it */\n\
                 .data : { *(.data*) } > RAM AT > FLASH"
            }
            Code::RunOverlap => {
                "/* in the linker script: one at a time is copied to where both run */\n\
                 OVERLAY 0x20001000 : AT(0x8000) { .first { *(.first) } .second { *(.second) } }"
            }
            Code::OutsideBoard => {
                "micrun-image-builder boards show qemu_cortex_m3   # where its memory is\n\
                 micrun-image-builder check app.elf --board OTHER"
            }
            Code::UnknownRtos => "micrun-image-builder pack app.elf --rtos baremetal",
            Code::DebugInfoLargerThanCode => "micrun-image-builder pack zephyr.elf --strip",
            Code::ResourceTableMissing | Code::XenWithoutResourceTable => {
                "# Zephyr, prj.conf\nCONFIG_OPENAMP=y\nCONFIG_OPENAMP_RSC_TABLE=y"
            }
            Code::MemoryBelowNeed => "micrun-image-builder pack zephyr.elf --set Memory=64",
            Code::LegacyAnnotation => "--annotation org.openeuler.micrun.board=qemu_cortex_a53",
            Code::SamePlatformTwice => {
                "micrun-image-builder pack a.elf --board imx8 --tag app:imx8\n\
                 micrun-image-builder pack b.elf --board rpi4 --tag app:rpi4"
            }
            Code::NoClientConf | Code::FirmwareMissing => {
                "# /client.conf in the image\n[Mica]\nClientPath=/firmware.elf\nPedestal=qemu\nPedestalConf="
            }
            Code::EntrypointElsewhere => "buildah config --entrypoint '[\"/firmware.elf\"]' CONTAINER",
            Code::SaidOnce | Code::ConfContradiction => {
                "# /client.conf in the image\n[MicRun]\nboard=qemu_cortex_a53\n\n\
                 # and the annotation\norg.openeuler.micrun.board=qemu_cortex_a53"
            }
            Code::NoFirmwareHash => {
                "# /client.conf in the image, with what sha256sum says\n[MicRun]\ncontainer.firmware_hash=sha256:..."
            }
            Code::BlobDamaged => {
                "micrun-image-builder copy docker://registry.example/demo/zephyr:1 oci:images:v1"
            }
            _ => return None,
        })
    }
}
