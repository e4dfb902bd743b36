//! SPDX 2.x as lines of `Tag: value`. A value may go over several lines between `<text>` and `</text>`.

use super::Problem;
use super::recognise::version_2;

/// The version of a document that has what every document has.
pub(super) fn version(text: &str) -> Result<String, Problem> {
    let (mut said, mut yaml, mut id, mut namespace) = (None, false, false, false);
    for (tag, value) in (Tags { lines: text.lines() }) {
        match tag {
            "SPDXVersion" => said = said.or(Some(value)),
            // The YAML form has the keys of the JSON form.
            "spdxVersion" => yaml = true,
            "SPDXID" => id |= value == "SPDXRef-DOCUMENT",
            "DocumentNamespace" => namespace |= !value.is_empty(),
            _ => {}
        }
    }
    let version = match said {
        Some(said) => version_2(said)?,
        None if yaml => return Err(Problem::OtherForm("YAML")),
        None => return Err(Problem::NotSpdx),
    };
    let incomplete = |what| Err(Problem::Incomplete { version: version.clone(), what });
    match (id, namespace) {
        (true, true) => Ok(version),
        (false, _) => incomplete("the SPDXID SPDXRef-DOCUMENT"),
        (_, false) => incomplete("a DocumentNamespace"),
    }
}

/// The tags and the first lines of their values, in order.
struct Tags<'a> {
    lines: std::str::Lines<'a>,
}

impl<'a> Iterator for Tags<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = self.lines.next()?.trim();
            let Some((tag, value)) = line.split_once(':').filter(|_| !line.starts_with('#')) else {
                // What is no tag can only be a mistake, which is for the reader of the document to find.
                continue;
            };
            let value = value.trim_start();
            if value.starts_with("<text>") && !value.contains("</text>") {
                self.lines.find(|line| line.contains("</text>"));
            }
            return Some((tag.trim_end(), value));
        }
    }
}
