//! What images and annotations may ask for. They come from outside: what reaches into the node is denied unless
//! `micrun.conf` allows it, by key and value.
//!
//! ```toml
//! [policy.allow]
//! iomem = ["0x9000,1"]        # allow device memory from page 0x9000, one page
//! network = ["bridge=br0"]    # allow a network interface on the bridge br0
//! debug = true                # allow debugging
//! ```

use std::fmt;
use std::str::FromStr;

use micrun_image_spec::digest::Sha256Digest;

/// What is allowed beyond what every guest may have. The default: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Device memory: these pages, and any part of them.
    pub iomem: Vec<IoMem>,
    /// Network interfaces.
    pub network: Vec<Pattern>,
    /// Files for the pedestal other than the boot image of xen and hetero that the image itself names.
    pub ped_conf: Vec<FilePattern>,
    /// Files of the node that containers may name in `config_path`.
    pub config_path: Vec<Pattern>,
    /// Boards whose profile may ask for semihosting.
    pub semihosting: Vec<Pattern>,
    /// Whether guests may ask for cores that Dom0 does not run on.
    pub exclusive_dom0_cpu: bool,
    /// Whether guests may be debugged from the node.
    pub debug: bool,
}

/// Something that a container asks for and that the policy decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    /// Device memory.
    IoMem(&'a IoMem),
    /// A network interface.
    Network(&'a str),
    /// A file for the pedestal, by its path in the image and its digest.
    PedConf(&'a str, &'a Sha256Digest),
    /// A configuration file of the node.
    ConfigPath(&'a str),
    /// A board with semihosting.
    Semihosting(&'a str),
    /// Cores without Dom0.
    ExclusiveDom0Cpu,
    /// Debugging.
    Debug,
}

impl Ask<'_> {
    /// The key under `[policy.allow]` that decides.
    pub const fn key(&self) -> &'static str {
        match self {
            Ask::IoMem(_) => "iomem",
            Ask::Network(_) => "network",
            Ask::PedConf(..) => "ped_conf",
            Ask::ConfigPath(_) => "config_path",
            Ask::Semihosting(_) => "semihosting",
            Ask::ExclusiveDom0Cpu => "exclusive_dom0_cpu",
            Ask::Debug => "debug",
        }
    }
}

impl Policy {
    /// Whether that is allowed.
    pub fn allows(&self, ask: &Ask<'_>) -> bool {
        match ask {
            Ask::IoMem(pages) => self.iomem.iter().any(|allowed| allowed.contains(pages)),
            Ask::Network(vif) => {
                let steered = runs_programs(vif);
                self.network.iter().any(|pattern| if steered { pattern.is(vif) } else { pattern.covers(vif) })
            }
            Ask::PedConf(path, digest) => self.ped_conf.iter().any(|pattern| pattern.covers(path, digest)),
            Ask::ConfigPath(path) => self.config_path.iter().any(|pattern| pattern.covers(path)),
            Ask::Semihosting(board) => self.semihosting.iter().any(|pattern| pattern.covers(board)),
            Ask::ExclusiveDom0Cpu => self.exclusive_dom0_cpu,
            Ask::Debug => self.debug,
        }
    }

    /// The line for `[policy.allow]` that would allow it, beside what is allowed already.
    pub fn line_for(&self, ask: &Ask<'_>) -> String {
        let more = |items: Vec<String>, item: String| toml_list(items.into_iter().chain([item]));
        let texts = |patterns: &[Pattern]| patterns.iter().map(ToString::to_string).collect();
        let value = match ask {
            Ask::IoMem(pages) => {
                more(self.iomem.iter().map(ToString::to_string).collect(), pages.to_string())
            }
            Ask::Network(vif) => more(texts(&self.network), (*vif).to_owned()),
            Ask::PedConf(_, digest) => {
                more(self.ped_conf.iter().map(ToString::to_string).collect(), digest.to_string())
            }
            Ask::ConfigPath(path) => more(texts(&self.config_path), (*path).to_owned()),
            Ask::Semihosting(board) => more(texts(&self.semihosting), (*board).to_owned()),
            Ask::ExclusiveDom0Cpu | Ask::Debug => "true".to_owned(),
        };
        format!("{} = {value}", ask.key())
    }
}

/// Some words of an interface (xl-network-configuration(5)) have the node run a program or hand it to another domain.
/// Only the whole interface, written out, allows these.
fn runs_programs(vif: &str) -> bool {
    vif.split(',').any(|word| {
        let key = word.split('=').next().unwrap_or(word).trim();
        matches!(key, "script" | "backend" | "colo_compare" | "forwarddev") || key.starts_with("filter-")
    })
}

/// Texts as a list in TOML.
pub(super) fn toml_list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| toml_text(&item)).collect();
    format!("[{}]", items.join(", "))
}

/// A text in TOML's quotes.
pub(super) fn toml_text(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted += &format!("\\u{:04X}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Pages of the machine's memory, as xl.cfg(5) has them: first page and number of pages, both in hex, and where the
/// guest sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoMem {
    first: u64,
    count: u64,
    seen_at: Option<u64>,
}

/// A text that names no pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write the first page and how many, both in hex: 0x9000,1, or 0x9000,1@0x100 for where the guest sees them"
)]
pub struct NotPages;

impl IoMem {
    /// Page frames have at most 52 bits (Arm ARM, D8.1: 64 KiB pages of 52-bit addresses leave fewer).
    const LAST: u64 = (1 << 52) - 1;

    /// Whether all of the other's pages are among these. Where the guest sees them is its own matter.
    pub fn contains(&self, other: &IoMem) -> bool {
        self.first <= other.first && other.first + other.count <= self.first + self.count
    }

    /// Several of them, with blanks between, as client.conf has them.
    ///
    /// # Errors
    ///
    /// [`NotPages`] for the first that is none.
    pub fn parse_list(text: &str) -> Result<Vec<IoMem>, NotPages> {
        text.split_ascii_whitespace().map(str::parse).collect()
    }
}

impl FromStr for IoMem {
    type Err = NotPages;

    fn from_str(text: &str) -> Result<IoMem, NotPages> {
        let (pages, seen_at) = match text.split_once('@') {
            Some((pages, at)) => (pages, Some(hex(at)?)),
            None => (text, None),
        };
        let (first, count) = pages.split_once(',').ok_or(NotPages)?;
        let (first, count) = (hex(first)?, hex(count)?);
        let fits = |first: u64| first <= IoMem::LAST && count <= IoMem::LAST - first + 1;
        if count == 0 || !fits(first) || !seen_at.is_none_or(fits) {
            return Err(NotPages);
        }
        Ok(IoMem { first, count, seen_at })
    }
}

fn hex(text: &str) -> Result<u64, NotPages> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(NotPages);
    }
    u64::from_str_radix(digits, 16).map_err(|_| NotPages)
}

impl fmt::Display for IoMem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x},{:x}", self.first, self.count)?;
        self.seen_at.map_or(Ok(()), |at| write!(f, "@0x{at:x}"))
    }
}

/// A text, or, with a star at its end, everything that begins with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    open: bool,
}

/// A text that is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a value, or the beginning of one and a star")]
pub struct NoPattern;

impl Pattern {
    fn is(&self, value: &str) -> bool {
        !self.open && self.text == value
    }

    /// A path with `..` in it begins with much that it is not in.
    fn covers(&self, value: &str) -> bool {
        let climbs = value.split('/').any(|part| part == "..");
        self.is(value) || (self.open && !climbs && value.starts_with(&self.text))
    }
}

impl FromStr for Pattern {
    type Err = NoPattern;

    fn from_str(text: &str) -> Result<Pattern, NoPattern> {
        let (text, open) = text.strip_suffix('*').map_or((text, false), |text| (text, true));
        let plain = !text.contains('*') && !text.chars().any(char::is_control);
        // Nobody means a value of nothing; a star alone allows everything, and says so.
        if !plain || (text.is_empty() && !open) {
            return Err(NoPattern);
        }
        Ok(Pattern { text: text.to_owned(), open })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.open { f.write_str("*") } else { Ok(()) }
    }
}

/// A file of an image, by path or by digest. A path is a promise of whoever made the image; a digest is the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilePattern {
    /// Every file with such a path.
    Path(Pattern),
    /// This very file.
    Digest(Sha256Digest),
}

impl FilePattern {
    fn covers(&self, path: &str, digest: &Sha256Digest) -> bool {
        match self {
            FilePattern::Path(pattern) => pattern.covers(path),
            FilePattern::Digest(allowed) => allowed == digest,
        }
    }
}

impl FromStr for FilePattern {
    type Err = NoPattern;

    fn from_str(text: &str) -> Result<FilePattern, NoPattern> {
        if text.starts_with("sha256:") {
            return text.parse().map(FilePattern::Digest).map_err(|_| NoPattern);
        }
        let pattern: Pattern = text.parse()?;
        let is_path = pattern.text.starts_with('/') || (pattern.open && pattern.text.is_empty());
        if is_path { Ok(FilePattern::Path(pattern)) } else { Err(NoPattern) }
    }
}

impl fmt::Display for FilePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilePattern::Path(pattern) => pattern.fmt(f),
            FilePattern::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(text: &str) -> IoMem {
        text.parse().unwrap()
    }

    #[test]
    fn pages_are_read_as_xl_reads_them() {
        for (text, shown) in
            [("0x9000,1", "0x9000,1"), ("9000,10", "0x9000,10"), ("0xfe201,0x2@0x100", "0xfe201,2@0x100")]
        {
            assert_eq!(pages(text).to_string(), shown);
            assert_eq!(pages(shown), pages(text));
        }
        for bad in [
            "",
            "0x9000",
            "0x9000,0",
            ",1",
            "0x9000,",
            "x,1",
            "0x9000,1@",
            "-1,1",
            "0x9000,1,2",
            "1 ,1",
            "ffffffffffffffff,2",
            "fffffffffffff,2",
            "1,1@fffffffffffffffff",
            "\"1,1\"",
        ] {
            assert_eq!(bad.parse::<IoMem>(), Err(NotPages), "{bad}");
        }
        assert_eq!(IoMem::parse_list("1,1  2,2").unwrap().len(), 2);
        assert!(IoMem::parse_list("1,1;2,2").is_err());
    }

    #[test]
    fn any_part_of_allowed_pages_is_allowed_and_nothing_beside_them() {
        let policy = Policy { iomem: vec![pages("0x9000,10")], ..Policy::default() };
        for (asked, allowed) in [
            ("9000,10", true),
            ("900f,1", true),
            ("9004,2@0", true),
            ("900f,2", false),
            ("8fff,1", false),
            ("9010,1", false),
        ] {
            assert_eq!(policy.allows(&Ask::IoMem(&pages(asked))), allowed, "{asked}");
        }
    }

    #[test]
    fn a_text_is_allowed_as_it_is_or_from_its_beginning() {
        let policy = Policy {
            network: ["bridge=br0", "bridge=lab*"].map(|text| text.parse().unwrap()).into(),
            config_path: vec!["/etc/mica/micrun/pods/*".parse().unwrap()],
            ..Policy::default()
        };
        for (vif, allowed) in [
            ("bridge=br0", true),
            ("bridge=br0,mac=00:16:3e:00:00:01", false),
            ("bridge=lab7,mac=00:16:3e:00:00:01", true),
            ("bridge=lab7,script=/tmp/x", false),
            ("bridge=lab7, script=/tmp/x", false),
            ("bridge=br1", false),
        ] {
            assert_eq!(policy.allows(&Ask::Network(vif)), allowed, "{vif}");
        }
        assert!(policy.allows(&Ask::ConfigPath("/etc/mica/micrun/pods/a.conf")));
        assert!(!policy.allows(&Ask::ConfigPath("/etc/mica/micrun/pods/../../../shadow")));
        for bad in ["", "a*b", "*a", "a\n"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_file_is_allowed_by_its_path_or_by_what_it_is() {
        let digest = |byte: u8| -> Sha256Digest {
            format!("sha256:{}", micrun_image_spec::text::hex(&[byte; 32])).parse().unwrap()
        };
        let (this, other) = (digest(1), digest(2));
        let by = |pattern: &str| Policy { ped_conf: vec![pattern.parse().unwrap()], ..Policy::default() };
        assert!(by("/cells/*").allows(&Ask::PedConf("/cells/a.cell", &this)));
        assert!(!by("/cells/*").allows(&Ask::PedConf("/a.cell", &this)));
        assert!(by(&this.to_string()).allows(&Ask::PedConf("/a.cell", &this)));
        assert!(!by(&this.to_string()).allows(&Ask::PedConf("/a.cell", &other)));
        assert!("cells/a".parse::<FilePattern>().is_err() && "sha256:1".parse::<FilePattern>().is_err());
    }

    #[test]
    fn the_line_that_would_allow_it_keeps_what_is_allowed() {
        let policy = Policy { iomem: vec![pages("1,1")], ..Policy::default() };
        assert_eq!(policy.line_for(&Ask::IoMem(&pages("0x9000,1"))), r#"iomem = ["0x1,1", "0x9000,1"]"#);
        assert_eq!(policy.line_for(&Ask::Network("bridge=br0")), r#"network = ["bridge=br0"]"#);
        assert_eq!(policy.line_for(&Ask::Debug), "debug = true");
        assert_eq!(toml_text("a\"\\\n"), r#""a\"\\\u000A""#);
    }
}
