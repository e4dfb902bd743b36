//! An image's facts as text.

use super::table::{Table, human};
use crate::cli::render::printable;
use crate::inspect::image::{BootImage, Config, FirmwareFile, ImageFacts, Index, Keys, Manifest};

/// Rows of a table that people still read.
const MAX_ROWS: usize = 40;
/// Characters of a command in the history.
const MAX_COMMAND: usize = 72;

pub(super) fn text(file: &str, image: &ImageFacts) -> String {
    let mut text = format!("{}\n{}", printable(file), summary(image).text());
    let mut section = |title: &str, body: String| {
        if !body.is_empty() {
            text += &format!("\n{title}\n{body}");
        }
    };
    section("index", image.index.as_ref().map(|index| entries(index, image)).unwrap_or_default());
    section("manifest", image.manifest.as_ref().map(manifest).unwrap_or_default());
    section("config", image.config.as_ref().map(config).unwrap_or_default());
    section("labels that are not as the annotations", image.config.as_ref().map(labels).unwrap_or_default());
    section("history", image.config.as_ref().map(history).unwrap_or_default());
    section("layers", layers(image));
    section("files", files(image));
    section("client.conf", image.client_conf.as_ref().map(keys).unwrap_or_default());
    section("boot image", image.boot_image.as_ref().map(boot_image).unwrap_or_default());
    section("firmware", image.firmware_file.as_ref().map(firmware).unwrap_or_default());
    section("what refers to it", referrers(image));
    text
}

/// Rows of a name and a value; without a value, no row.
#[derive(Default)]
struct Pairs(Table);

impl Pairs {
    fn row(&mut self, name: &str, value: impl Into<String>) {
        self.0.row([name.to_owned(), value.into()]);
    }

    fn some(&mut self, name: &str, value: Option<impl Into<String>>) {
        if let Some(value) = value.map(Into::into).filter(|value| !value.is_empty()) {
            self.row(name, value);
        }
    }

    fn words(&mut self, name: &str, words: &[String]) {
        self.some(name, Some(words.join(" ")));
    }
}

fn summary(image: &ImageFacts) -> Table {
    let mut rows = Pairs::default();
    for name in &image.names {
        rows.row("name", name);
    }
    rows.some("digest", image.root.as_ref().map(|root| root.digest.as_str()));
    let platform = image.platform.as_ref();
    rows.some("platform", platform.map(|known| format!("{} ({})", known.value, known.because)));
    rows.0
}

/// The entry that is looked at has a star.
fn entries(index: &Index, image: &ImageFacts) -> String {
    let chosen = image.manifest.as_ref().map(|manifest| &manifest.blob.digest);
    let mut table = Table::with_header(&["", "platform", "size", "digest", "media type"], &[2]);
    for entry in index.entries.iter().take(MAX_ROWS) {
        let star = if chosen == Some(&entry.blob.digest) { "*" } else { "" };
        table.row([
            star.to_owned(),
            entry.platform.clone().unwrap_or_default(),
            human(entry.blob.size),
            entry.blob.digest.clone(),
            entry.blob.media_type.clone(),
        ]);
    }
    let mut text = table.text() + &more(index.entries.len());
    if !index.annotations.is_empty() {
        text += "  annotations\n";
        text += &annotations(index.annotations.iter());
    }
    text
}

fn manifest(manifest: &Manifest) -> String {
    let mut rows = Pairs::default();
    rows.row("digest", &manifest.blob.digest);
    rows.row("media type", &manifest.blob.media_type);
    rows.row("size", human(manifest.blob.size));
    rows.some("artifact type", manifest.artifact_type.as_deref());
    rows.some("refers to", manifest.subject.as_deref());
    let mut text = rows.0.text();
    if manifest.annotations.is_empty() {
        text += "  no annotations\n";
    } else {
        text += "  annotations\n";
        text += &annotations(manifest.annotations.iter());
    }
    text
}

fn annotations<'a>(annotations: impl ExactSizeIterator<Item = (&'a String, &'a String)>) -> String {
    let mut table = Table::default();
    let count = annotations.len();
    for (key, value) in annotations.take(MAX_ROWS) {
        table.row([String::new(), key.clone(), value.clone()]);
    }
    table.text() + &more(count)
}

fn config(config: &Config) -> String {
    let mut rows = Pairs::default();
    rows.row("digest", &config.blob.digest);
    rows.row("size", human(config.blob.size));
    rows.row("platform", &config.platform);
    rows.words("entrypoint", &config.entrypoint);
    rows.words("cmd", &config.cmd);
    rows.words("environment", &config.env);
    rows.some("directory", config.working_dir.as_deref());
    rows.some("user", config.user.as_deref());
    rows.some("stop signal", config.stop_signal.as_deref());
    rows.some("created", config.created.as_deref());
    rows.some("author", config.author.as_deref());
    rows.0.text()
}

fn labels(config: &Config) -> String {
    if config.label_differences.is_empty() {
        return String::new();
    }
    let mut table = Table::with_header(&["key", "label", "annotation"], &[]);
    let cell = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    for difference in config.label_differences.iter().take(MAX_ROWS) {
        table.row([difference.key.clone(), cell(&difference.label), cell(&difference.annotation)]);
    }
    table.text() + &more(config.label_differences.len())
}

fn history(config: &Config) -> String {
    let mut table = Table::default();
    for step in config.history.iter().take(MAX_ROWS) {
        let said = step.created_by.as_deref().or(step.comment.as_deref()).unwrap_or_default();
        let mut command: String = said.chars().take(MAX_COMMAND).collect();
        if command.len() < said.len() {
            command += "...";
        }
        let what = if step.empty_layer { "no layer" } else { "a layer" };
        table.row([step.created.clone().unwrap_or_default(), what.to_owned(), command]);
    }
    table.text() + &more(config.history.len())
}

fn layers(image: &ImageFacts) -> String {
    if image.layers.is_empty() {
        return String::new();
    }
    let mut table =
        Table::with_header(&["#", "size", "unpacked", "media type", "digest, diff_id"], &[0, 1, 2]);
    for (index, layer) in image.layers.iter().enumerate().take(MAX_ROWS) {
        table.row([
            index.to_string(),
            human(layer.blob.size),
            layer.unpacked_size.map_or("-".to_owned(), human),
            layer.blob.media_type.clone(),
            layer.blob.digest.clone(),
        ]);
        let empty = || String::new();
        let diff_id = layer.diff_id.clone().unwrap_or_else(|| "-".to_owned());
        table.row([empty(), empty(), empty(), empty(), diff_id]);
    }
    table.text() + &more(image.layers.len())
}

fn files(image: &ImageFacts) -> String {
    let mut table = Table::with_header(&["mode", "size", "layer", "path"], &[1, 2]);
    let files = image.files.iter().filter(|file| file.kind != "directory");
    let count = files.clone().count();
    if count == 0 {
        return String::new();
    }
    for file in files.take(MAX_ROWS) {
        let path = match &file.target {
            Some(target) => format!("{} -> {target}", file.path),
            None => file.path.clone(),
        };
        let size = file.size.map_or(file.kind.to_owned(), human);
        table.row([file.mode.clone(), size, file.layer.to_string(), path]);
    }
    table.text() + &more(count)
}

fn keys(keys: &Keys) -> String {
    let mut text = String::new();
    let sections =
        [("[Mica]", keys.mica.iter().map(|(k, v)| (k, v)).chain(&keys.unknown).collect::<Vec<_>>())];
    for (name, keys) in sections.into_iter().chain([("[MicRun]", keys.micrun.iter().collect())]) {
        if !keys.is_empty() {
            text += &format!("  {name}\n");
            text += &annotations(keys.into_iter());
        }
    }
    text
}

fn boot_image(boot: &BootImage) -> String {
    let mut rows = Pairs::default();
    rows.row("path", &boot.path);
    rows.row("size", human(boot.size));
    rows.row("digest", boot.digest.to_string());
    let Some(header) = &boot.header else {
        rows.row("header", "none: raw bytes");
        return rows.0.text();
    };
    let order = if header.big_endian { "big-endian" } else { "little-endian" };
    rows.row("header", format!("arm64 Image, {order}, flags {}", header.flags));
    let xen = header.xen_loads_to.map(|address| format!(" (Xen loads it to {address})"));
    rows.row("text offset", format!("{}{}", header.text_offset, xen.unwrap_or_default()));
    rows.row("image size", human(header.image_size));
    rows.0.text()
}

fn firmware(firmware: &FirmwareFile) -> String {
    let mut rows = Pairs::default();
    rows.row("path", &firmware.path);
    rows.some("size", firmware.size.map(human));
    rows.some("digest", firmware.digest.map(|digest| digest.to_string()));
    rows.some("problem", firmware.problem.as_deref());
    rows.0.text()
}

fn referrers(image: &ImageFacts) -> String {
    if image.referrers.is_empty() {
        return String::new();
    }
    let mut table = Table::with_header(&["what", "size", "title", "type", "digest"], &[1]);
    for referrer in image.referrers.iter().take(MAX_ROWS) {
        let titles: Vec<&str> = referrer.files.iter().filter_map(|file| file.title.as_deref()).collect();
        let size = referrer.files.iter().fold(0u64, |sum, file| sum.saturating_add(file.blob.size));
        let title =
            if titles.is_empty() { referrer.tag.clone().unwrap_or_default() } else { titles.join(" ") };
        table.row([
            referrer.what.to_owned(),
            human(size),
            title,
            referrer.artifact_type.clone(),
            referrer.blob.digest.clone(),
        ]);
    }
    table.text() + &more(image.referrers.len())
}

fn more(count: usize) -> String {
    match count.saturating_sub(MAX_ROWS) {
        0 => String::new(),
        more => format!("  and {more} more; --format json has all\n"),
    }
}
