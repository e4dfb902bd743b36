//! Every finding that the builder can make: one table, from which messages, documentation and `--allow` are fed.
//!
//! A code never changes its meaning and is never used again. The hundreds group them: 1 the file, 2 what kind of
//! program it is, 3 where its segments lie, 4 what was recognised in it, 5 resource tables, 6 boot images,
//! 7 what the user asked for, 8 images.

use std::fmt;
use std::str::FromStr;

use micrun_image_spec::text::excerpt;
use serde::{Serialize, Serializer};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Note,
    /// The image is made, but something is probably not as intended.
    Warning,
    /// No image is made.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// What the documentation says about one code.
struct Entry {
    code: Code,
    id: &'static str,
    severity: Severity,
    /// False where nothing could be packed if the user insisted.
    can_be_allowed: bool,
    title: &'static str,
    explanation: &'static str,
}

macro_rules! codes {
    ($($name:ident = $id:literal $severity:ident $allow:ident: $title:literal, $explanation:literal;)+) => {
        /// A finding's stable code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $title] $name,)+
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &[Code] = &[$(Code::$name),+];
        }

        const TABLE: &[Entry] = &[$(Entry {
            code: Code::$name,
            id: $id,
            severity: Severity::$severity,
            can_be_allowed: codes!(@$allow),
            title: $title,
            explanation: $explanation,
        }),+];
    };
    (@allowed) => { true };
    (@always) => { false };
}

codes! {
    EmptyFile = "MIC101" Error always: "the file is empty",
        "There is no byte in the file. Usually a build that failed or a download that broke off.";
    NotElf = "MIC102" Error always: "the file is not an ELF file",
        "A firmware is packed as the ELF file that the linker wrote: it says where each part is loaded and where the program begins. A raw binary, an Intel HEX file or an archive does not; for the first two, --arch and --load-address say it.";
    HeaderCut = "MIC103" Error always: "the file ends inside its ELF header",
        "The file begins like an ELF file but is shorter than the header.";
    BadHeader = "MIC104" Error always: "the ELF header makes no sense",
        "A field of the header has a value that the ELF specification does not know, so nothing after it can be trusted.";
    ProgramHeadersOutside = "MIC105" Error always: "the program headers are outside the file",
        "The program headers say what is loaded where. Their offset and number point beyond the end of the file.";
    SegmentOutside = "MIC106" Error allowed: "a segment is cut off by the end of the file",
        "A program header names bytes that the file does not have. The file is cut short.";
    SectionHeadersOutside = "MIC107" Error allowed: "the section headers cannot be read",
        "The ELF header names section headers that are not in the file, or not whole. Nothing loads them, but a file without its end is usually a broken copy. Files that were stripped of section headers on purpose have the offset 0 and are fine.";
    UnsupportedMachine = "MIC108" Error always: "the machine is not supported",
        "Supported are aarch64, arm, riscv64, riscv32, x86 and x86_64.";
    WrongClass = "MIC109" Error always: "the class does not fit the machine",
        "The file is a 32-bit file for a 64-bit machine or the other way round (ILP32 on aarch64 and x32 included).";
    WrongByteOrder = "MIC110" Error always: "the byte order is not supported",
        "Every supported board is little-endian.";
    Unreadable = "MIC111" Error always: "the file cannot be read",
        "It is not there, may not be read, or is no regular file. Pipes are not read: a firmware is looked at more than once.";

    DynamicLinuxProgram = "MIC201" Error allowed: "this is a Linux program, dynamically linked",
        "The file asks for a dynamic linker (PT_INTERP) or for shared libraries (DT_NEEDED). Firmware has neither. A dynamic section alone proves nothing: firmware that relocates itself has one.";
    StaticLinuxProgram = "MIC202" Error allowed: "this is a Linux program, statically linked",
        "The file carries what only toolchains for Linux programs leave: the note .note.ABI-tag, or a note or table of Go's. The OS ABI number of GNU and a segment to be made read-only after relocation (PT_GNU_RELRO) count only in a file that loads its own ELF headers, since lld and g++ make both for firmware too. A build ID alone proves nothing. Go for bare metal (TamaGo) carries Go's traces as well; allow it.";
    Relocatable = "MIC203" Error allowed: "this is a relocatable object, not a linked program",
        "An object file (.o) or kernel module (.ko) has no addresses yet.";
    CoreDump = "MIC204" Error allowed: "this is a core dump",
        "A core dump is the memory of a program that crashed.";
    LaidOutForLinux = "MIC205" Warning always: "this may be a static Linux program",
        "The ELF headers are part of what is loaded, as in every Linux program; nothing else gives the file away. Programs with a small C library or none look like this. So does firmware that was linked without a linker script; lld leaves the headers out with --nmagic.";

    NoLoadableSegment = "MIC301" Error allowed: "there is nothing to load",
        "The file has no PT_LOAD segment with contents. It may hold debug information only (objcopy --only-keep-debug).";
    EntryOutside = "MIC302" Error allowed: "the entry point is outside every executable segment",
        "The machine would begin to run where no code is. QEMU does so without a word and then hangs. The lowest bit of an Arm entry point marks Thumb code and is no part of the address. On Cortex-M the entry point may be 0 if the reset vector leads to code.";
    LoadOverlap = "MIC303" Error allowed: "two segments are loaded to the same address",
        "The ranges from paddr to paddr + filesz overlap: the second segment would overwrite a part of the first.";
    RunOverlap = "MIC304" Warning always: "two segments run at the same address",
        "The ranges from vaddr to vaddr + memsz overlap. Real firmware does so on purpose: overlays, and variables of which only some are used at a time. Where what is loaded would be overwritten, there is MIC303 as well.";
    FileSizeAboveMemorySize = "MIC305" Error allowed: "a segment is larger in the file than in memory",
        "The ELF specification requires filesz to be at most memsz.";
    AddressWraps = "MIC306" Error allowed: "a segment ends beyond the address space",
        "Its address and size together exceed 32 or 64 bits, whichever the file's class has.";
    WritableAndExecutable = "MIC307" Note always: "a segment is both writable and executable",
        "Normal for firmware: without memory protection nothing is gained by keeping code and data apart.";
    NoSectionHeaders = "MIC308" Note always: "there are no section headers",
        "Nothing needs them to run. But the RTOS is recognised by section names, among other things.";
    OutsideBoard = "MIC309" Warning always: "a segment lies outside the board's memory",
        "The board's profile has no memory where the segment is loaded, or where it runs, so the guest will probably not start there. Where it runs is looked at if that is a physical address: on Cortex-M, and where both are the same.";
    RepeatedSegment = "MIC310" Note always: "a segment is there twice",
        "Two segments put the same bytes to the same addresses. Some linkers do so; it harms nobody.";

    UnknownRtos = "MIC401" Warning always: "the RTOS was not recognised",
        "The image then carries no annotation container.os, and the runtime knows nothing about the guest's console and shell. Programs without an operating system are not recognised by anything; --rtos baremetal says that it is one, and silences this.";
    UnknownVersion = "MIC402" Note always: "the version of the RTOS was not found",
        "Many firmwares do not contain it, or only a format string.";
    DebugInfoLargerThanCode = "MIC403" Warning always: "the debug information is larger than the program",
        "It is never loaded, but every node downloads it.";
    NoBoard = "MIC404" Warning always: "no known board fits",
        "The image then names no board, and a node can run it on the qemu pedestal only if the container names one.";

    ResourceTableMissing = "MIC501" Error allowed: "the pedestal needs a resource table",
        "micad sets up the guest's shared memory and its console from the section .resource_table, and does not start a firmware without one. It finds the table by the section's name: in a file without section headers there is none.";
    XenWithoutResourceTable = "MIC502" Warning always: "under micad, Xen needs a resource table",
        "micad leaves a paused domain behind where the table is missing. On a node that drives Xen without micad the firmware runs, with the domain's own console.";
    NoResourceTable = "MIC503" Note always: "there is no resource table",
        "The kernel's remoteproc framework starts such a firmware, but gives it no RPMsg channel and shows no trace buffer, so there is no console.";
    ResourceTableNotLoaded = "MIC504" Warning always: "the resource table is not loaded",
        "The section .resource_table is in no segment, so the firmware does not find what the host writes into the table, unless the host puts the whole table into memory.";
    BadResourceTable = "MIC505" Error allowed: "the resource table cannot be read",
        "Its header is cut off, its version is not 1, or it is too short for the number of its entries. Every loader refuses it.";
    ResourceReservedNotZero = "MIC506" Error allowed: "a reserved field of the resource table is not zero",
        "Linux and OpenAMP refuse it. micad keeps the guest's state there while it runs, so this may be a table that was copied out of memory.";
    ResourceOutside = "MIC507" Error allowed: "a resource is cut off or outside the table",
        "An offset points into the table's header or behind its end, or the entry there is longer than what is left of the table.";
    ResourceOverlap = "MIC508" Error allowed: "two resources overlap",
        "An entry begins inside another. The host writes addresses into the table, and would overwrite one with the other.";
    UnknownResource = "MIC509" Error allowed: "a resource has an unknown type",
        "Known are 0 carveout, 1 devmem, 2 trace, 3 vdev, OpenAMP's 4 and 5, and everything from 128 on, which belongs to vendors.";
    WrongVringCount = "MIC510" Error allowed: "a virtio device has a wrong number of vrings",
        "RPMsg needs exactly two, and Linux takes no more than two for any device.";
    BadVring = "MIC511" Error allowed: "a vring has a wrong size or alignment",
        "Both have to be powers of two: the virtio specification requires it of the number of buffers, and Linux computes addresses with the alignment as a mask.";
    EmptyCarveout = "MIC512" Warning always: "a carveout has no length",
        "Linux takes it only where the processor's driver set memory aside under the carveout's name.";
    NoRpmsgDevice = "MIC513" Error allowed: "there is no RPMsg device for micad",
        "micad sets up the first virtio device of the table when it starts a guest, and reports a failure without one, although the guest then runs.";
    VringOffsetsMissing = "MIC514" Warning always: "the vrings cannot be found on Xen",
        "A Xen guest sees shared memory at another address than the host. micad then tells the vrings' places in an entry of type 130, and fails without one if it chooses them.";
    ResourceTableTooLarge = "MIC515" Warning always: "the resource table is larger than a page",
        "micad gives the table one page of the shared memory, except on baremetal, and refuses a larger one.";
    OutsideReservedMemory = "MIC516" Warning always: "shared memory lies outside what the board reserves",
        "The board's profile has regions of kind reserved, and a carveout or vring with a fixed address is in none of them: the node may use that memory for something else.";
    SharedMemoryOnProgram = "MIC517" Warning always: "shared memory lies on the program",
        "A carveout or vring with a fixed address shares addresses with what is loaded, so the host may overwrite it. A carveout that holds whole segments is fine: some processors get their program memory like this.";

    NoFlatImage = "MIC602" Error always: "no boot image can be made of the segments",
        "A boot image holds everything from the lowest to the highest load address, gaps included. Gaps that take more than 16 MiB and the size of the contents themselves are not filled: usually a segment is meant for another memory, such as flash.";
    ArchitectureNotOnXen = "MIC603" Error always: "Xen cannot boot this architecture",
        "Pedestal xen boots arm64 Images.";
    OutsideXenMemory = "MIC604" Error allowed: "the firmware is linked to where a Xen domain has no memory",
        "The memory of a Xen domain on arm64 begins at 0x40000000 and has 3 GiB at most in its first bank. Allowed, the firmware is packed as if it were position-independent.";
    NoImageHeaderPossible = "MIC605" Error always: "no arm64 Image header can be put before the firmware",
        "Xen wants a header of 64 bytes in a page of its own before the firmware, with a branch to the entry point. Firmware that is linked to the very beginning of a domain's memory, 0x40000000, leaves no room for it; it has to have the header itself.";
    BadImageHeader = "MIC606" Error allowed: "Xen cannot load an Image with this header",
        "Xen loads an arm64 Image to 0x40000000 plus the text_offset in its header, which has to be a multiple of 4096 and inside the domain's memory. It starts little-endian cores. image_size is not looked at, since Xen does not look at it and real firmware states nonsense there.";
    LoadedElsewhere = "MIC607" Error allowed: "the arm64 Image header has the firmware loaded elsewhere than it is linked",
        "Xen loads the Image to 0x40000000 plus text_offset. Position-dependent firmware crashes at any address but its own.";
    EntryNotAtStart = "MIC608" Error always: "the firmware does not begin at its entry point",
        "On pedestal hetero, micad copies the boot image to the ELF's entry point. So what is loaded first has to be what runs first.";
    NoImageHeader = "MIC609" Error always: "the boot image has no arm64 Image header",
        "Xen takes a raw file for a kernel only if the magic ARM\\x64 is at offset 0x38.";
    BadBootImage = "MIC610" Error always: "this is no boot image",
        "The file given with --boot-image is empty, or something else than raw bytes.";
    BootImageDiffers = "MIC611" Warning always: "the boot image does not hold what the ELF file says",
        "The file given with --boot-image has other bytes where the ELF's segments are loaded. Usually the two come from different builds.";
    NoBootImageWanted = "MIC612" Error always: "the pedestal boots no boot image",
        "Pedestals xen and hetero boot raw bytes. The others load the ELF file.";
    MovedForXen = "MIC613" Warning always: "position-independent firmware is moved into the memory of a Xen domain",
        "The ELF file is linked to where a domain has no memory, and its type (ET_DYN) says that it may be loaded anywhere. Firmware that is to run elsewhere than it was linked has to relocate itself when it starts; U-Boot does with CONFIG_POSITION_INDEPENDENT.";

    RawFactsMissing = "MIC620" Error always: "raw firmware needs an architecture and a load address",
        "Neither a raw binary nor Intel HEX says for which machine it is, and a raw binary does not say where it is loaded: --arch and --load-address do. The ELF file that it was made from says all of it, and more.";
    RawOptionNotUsed = "MIC621" Error always: "the file says itself what the option gives",
        "--load-address is for raw binaries, --arch and --entry are for raw binaries and Intel HEX. An ELF file has all of them inside.";
    BadHexFile = "MIC622" Error always: "the Intel HEX file is damaged",
        "A line is no record of the format, or its checksum is wrong, or the end record is missing, or an address is written twice. Files with more than 64 MiB of data are not read.";
    BadRawAddress = "MIC623" Error always: "raw firmware cannot have this address",
        "The load address and the file's length, or the entry point, go beyond 32 or 64 bits, whichever the architecture has; or the entry point is at an address where the file has nothing.";
    Wrapped = "MIC624" Note always: "raw firmware was wrapped into an ELF file",
        "The image always carries an ELF file. The one that the builder makes has the data, their addresses and an entry point: the one given with --entry, else the reset vector of a Cortex-M program, else what the Intel HEX file says, else the first byte. It has no sections and no symbols, so the RTOS is recognised by its texts at most.";
    NotRaw = "MIC625" Error always: "this is no raw firmware",
        "The file begins like S-records, UF2, a library or gzip data. As raw bytes none of them runs.";

    BadClientConf = "MIC701" Error always: "a client.conf value cannot be used",
        "micad would refuse the value, cut it off, or understand something else. The limits are those of its create message.";
    UnknownClientConfKey = "MIC702" Warning always: "micad does not know this client.conf key",
        "The key is kept in the image and ignored by micad. Usually it is misspelt.";
    LegacyAnnotation = "MIC703" Warning always: "an annotation has the old prefix",
        "org.openeuler.micran. was an older spelling; the image gets the key with org.openeuler.micrun.";
    HashMismatch = "MIC704" Error always: "the firmware does not have the digest that was given",
        "container.firmware_hash was given and is not the digest of this file.";
    PedestalNotOnBoard = "MIC705" Error allowed: "the board has no such pedestal",
        "The board's profile lists the pedestals that can run it, and this one is not among them.";
    ArchitectureNotOnBoard = "MIC706" Error allowed: "the firmware is for another architecture than the board",
        "The board's core cannot run this firmware.";
    MemoryBelowNeed = "MIC707" Warning always: "the memory given is less than the program needs",
        "The sum of the segments' sizes in memory is larger than Memory in client.conf; or on pedestal xen, the program ends beyond the domain's memory, which begins at 0x40000000.";
    BadAnnotation = "MIC708" Error always: "an annotation's value cannot be used",
        "The runtime would refuse the container for it. The value has to be of the annotation's kind: yes or no, MiB, a duration and so on.";
    UnknownAnnotation = "MIC709" Warning always: "MicRun has no such annotation",
        "The key begins with MicRun's prefix, but nobody reads it. Usually it is misspelt.";
    PedestalConfMissing = "MIC710" Error always: "the image does not hold the pedestal's file",
        "PedestalConf names a file inside the image. The builder packs the firmware and, for xen and hetero, the boot image /image.bin.";
    SeveralPlatforms = "MIC711" Error allowed: "only the qemu pedestal runs on several platforms",
        "The platform is the node's. On every pedestal but qemu the guest runs on cores of the node itself, so one image cannot serve nodes of several architectures.";
    SbomNotAttached = "MIC712" Note always: "the build has bills of materials that are not attached",
        "west spdx left documents in the build directory. They know the sources and licences of the firmware, which nobody can see in the ELF file.";
    CannotStrip = "MIC713" Error always: "the debug information cannot be taken out",
        "--strip rewrites the section headers, the symbol table and what refers to them. It does so for files as linkers write them; one with section groups, several symbol tables, sections upon each other or more than 65279 of them is left alone.";
    ConfAgainstOption = "MIC714" Error allowed: "client.conf contradicts an option, or itself",
        "The client.conf given with --client-conf names another pedestal, board or RTOS than --pedestal, --board or --rtos, or its two sections differ. Allowed, the option counts, and before section [MicRun] the section [Mica].";
    ConfAgainstFirmware = "MIC715" Error allowed: "client.conf contradicts the firmware",
        "The client.conf given with --client-conf names another RTOS than the one that was recognised in the file. Usually it is the client.conf of another firmware. Allowed, client.conf counts.";
    ConfRewritten = "MIC716" Note always: "a value of client.conf is the builder's or the runtime's to set",
        "In an image the firmware is /firmware.elf and the boot image /image.bin, whatever they were called on a node, and the runtime gives each guest the name of its container.";

    ImageUnreadable = "MIC801" Error always: "the image cannot be read",
        "It is not there, or not whole, or one of its documents cannot be understood.";
    BlobDamaged = "MIC802" Error always: "something in the image is not what its digest says",
        "A document, a configuration or a layer has other bytes than those that the image was made of. Every engine refuses it.";
    DiffIdMismatch = "MIC803" Error always: "a layer is not the one that the configuration names",
        "The configuration lists the digests of the layers' tars (rootfs.diff_ids). containerd compares them when it unpacks the layer.";
    UnknownMediaType = "MIC804" Error always: "a media type is not known",
        "What is known are the indexes, manifests, configurations and layers of OCI and of Docker, with gzip, zstd or no compression.";
    LayerUnreadable = "MIC805" Error always: "a layer cannot be unpacked",
        "It is no tar, or its compression is broken or another one than its media type says.";
    LayerTooLarge = "MIC806" Error always: "a layer is larger than anything that is read here",
        "Read are up to 500000 files of 4 GiB each, 16 GiB in all, in paths of up to 4096 bytes and 128 components. Firmware images have a handful of files; small layers that unpack to huge ones are made to do harm.";
    PathOutside = "MIC807" Error always: "a layer has a path that leads out of the image",
        "A path with .. in it. Engines refuse it, or put the file somewhere else than it says.";
    DanglingHardLink = "MIC808" Warning always: "a hard link leads to nothing",
        "The file that it is another name of is neither in its layer nor in those below.";
    BadImageConfig = "MIC809" Error always: "the image's configuration cannot be used",
        "The manifest or the configuration is not as the OCI image specification has it, or is for another system than Linux. The platform is the node's, not the guest's.";
    PlatformContradiction = "MIC810" Error always: "index and configuration name different platforms",
        "An engine chooses by the index, and then compares the configuration.";
    SamePlatformTwice = "MIC811" Error always: "an index has two images for one platform",
        "Engines choose by platform alone, so one of the two is never run. Boards are separate tags, or one image with several firmwares.";
    SeveralLayers = "MIC812" Note always: "the image has several layers",
        "This builder makes one. Others work as well.";
    ForeignFiles = "MIC813" Note always: "the image holds other files than the builder's",
        "The shim looks at client.conf, and at the files that it names.";
    NoClientConf = "MIC814" Error always: "the image has no client.conf",
        "The shim learns from it where the firmware is and what it runs on; containerd does not hand annotations to a runtime. Without it no container starts.";
    FirmwareMissing = "MIC815" Error always: "the image does not hold its firmware",
        "There is no regular file where client.conf, an annotation or Entrypoint says that the firmware is.";
    EntrypointElsewhere = "MIC816" Warning always: "Entrypoint does not name the firmware",
        "The shim goes by client.conf. But engines want some command, and people read it.";
    ConfContradiction = "MIC817" Error always: "client.conf and the annotations contradict each other",
        "Both state the same facts: client.conf for the node, annotations for registries, policies and people. Somebody is told something wrong.";
    SaidOnce = "MIC818" Warning always: "only one of client.conf and the annotations says something",
        "What only an annotation says, no node knows; what only client.conf says, no registry and no policy.";
    LabelContradiction = "MIC819" Warning always: "a label is not what the annotation is",
        "Labels repeat the annotations for tools that show labels alone.";
    NoFirmwareHash = "MIC820" Note always: "nothing says what the firmware's digest must be",
        "With container.firmware_hash in client.conf, a node refuses any other firmware.";
    UnknownBoard = "MIC821" Warning always: "the board of the image is not known here",
        "So its memory was not compared with the firmware. Boards can be added with --boards-dir.";
}

/// Codes that are no longer made, so that nobody gives them another meaning.
pub const RETIRED: &[&str] = &["MIC601"];

impl Code {
    fn entry(self) -> &'static Entry {
        // The macro writes enum and table in the same order.
        &TABLE[self as usize]
    }

    /// The code as it is printed: `MIC102`.
    pub fn as_str(self) -> &'static str {
        self.entry().id
    }

    /// One sentence.
    pub fn title(self) -> &'static str {
        self.entry().title
    }

    /// What it means.
    pub fn explanation(self) -> &'static str {
        self.entry().explanation
    }

    /// How bad it is, unless the user allows it.
    pub fn severity(self) -> Severity {
        self.entry().severity
    }

    /// True for an error that the user may turn into a warning.
    pub fn can_be_allowed(self) -> bool {
        self.entry().can_be_allowed
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that is no code of a finding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no code of a finding; micrun-image-builder check --explain all lists them")]
pub struct UnknownCode(String);

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = TABLE.iter().find(|entry| entry.id.eq_ignore_ascii_case(text));
        found.map(|entry| entry.code).ok_or_else(|| UnknownCode(excerpt(text)))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_number_and_text() {
        for (i, &code) in Code::ALL.iter().enumerate() {
            assert_eq!(code.entry().code, code);
            assert_eq!(code.as_str().parse(), Ok(code));
            assert!(
                Code::ALL[..i].iter().all(|other| other.as_str() < code.as_str()),
                "{code} is out of order"
            );
            assert!(code.title().len() < 80 && code.explanation().ends_with('.'), "{code}");
            assert!(!code.can_be_allowed() || code.severity() == Severity::Error, "{code}");
        }
        assert!("MIC999".parse::<Code>().is_err());
        assert!(RETIRED.iter().all(|code| code.parse::<Code>().is_err()), "a code is used again");
    }

    #[test]
    fn every_code_is_documented() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/findings.md");
        let document = std::fs::read_to_string(path).unwrap();
        for code in Code::ALL {
            let heading =
                format!("### {code}: {} ({})\n\n{}\n", code.title(), code.severity(), code.explanation());
            assert!(document.contains(&heading), "docs/findings.md lacks or misstates:\n{heading}");
        }
        for code in RETIRED {
            assert!(document.contains(&format!("\n{code} is no longer made")), "{code}");
        }
        assert_eq!(
            document.matches("\n### MIC").count(),
            Code::ALL.len(),
            "docs/findings.md has codes of its own"
        );
    }
}
