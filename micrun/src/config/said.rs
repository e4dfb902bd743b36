//! What image and engine say under the names of annotations: one key space over client.conf's section `[MicRun]` and the
//! annotations of the container, weakest first.

use std::collections::HashMap;

use micrun_image_spec::annotation::{self, Kind};
use micrun_image_spec::client_conf::ClientConf;

use super::explanation::Explanation;
use super::origin::Origin;
use super::settings::SettingsError;

/// The annotation in which CRI names a container of a pod.
pub const CONTAINER_NAME: &str = "io.kubernetes.cri.container-name";

/// One thing that was said.
struct Word<'a> {
    name: &'a str,
    value: &'a str,
    origin: Origin,
}

/// All that was said, weakest first.
pub struct Said<'a>(Vec<Word<'a>>);

/// A value and where it comes from.
pub struct Candidate<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub origin: Origin,
}

impl<'a> Said<'a> {
    /// Listens to an image and to the annotations of a container. Users of pods can annotate the pod only: a key
    /// `c.<container>/<name>` there is for one container, and beats the bare one.
    ///
    /// # Errors
    ///
    /// A value that its key cannot have, even where it would not be used: whoever wrote it meant something.
    pub fn new(
        conf: &'a ClientConf,
        annotations: &'a HashMap<String, String>,
        told: &mut Explanation,
    ) -> Result<Said<'a>, SettingsError> {
        let of_image =
            conf.micrun().iter().map(|(name, value)| Word { name, value, origin: Origin::image(name) });
        let mut words: Vec<(u8, Word<'a>)> = of_image.map(|word| (0, word)).collect();
        let own_name = annotations.get(CONTAINER_NAME).map(String::as_str);
        for (full, value) in annotations {
            let Some(key) = annotation::strip(full) else { continue };
            let (name, addressed) = match annotation::addressed(key.name) {
                Some((container, name)) if own_name == Some(container) => (name, true),
                // Another container's.
                Some(_) if own_name.is_some() => continue,
                _ => (key.name, false),
            };
            if key.legacy {
                tracing::warn!(annotation = full, today = annotation::PREFIX, "old spelling of the prefix");
            }
            let strength = 1 + u8::from(!key.legacy) + 2 * u8::from(addressed);
            words.push((strength, Word { name, value, origin: Origin::Annotation { key: full.clone() } }));
        }
        // The same from run to run, whatever the order of the map.
        words.sort_by(|(a, left), (b, right)| (a, left.name).cmp(&(b, right.name)));
        let mut said = Said(words.into_iter().map(|(_, word)| word).collect());
        said.check(told)?;
        Ok(said)
    }

    /// Refuses what is wrong and forgets what has no meaning here.
    fn check(&mut self, told: &mut Explanation) -> Result<(), SettingsError> {
        let mut kept = Vec::with_capacity(self.0.len());
        for word in std::mem::take(&mut self.0) {
            if let Some(kind) = Kind::of(word.name) {
                kind.check(word.value).map_err(|bad| SettingsError::value(&word.origin, word.value, bad))?;
            }
            match without_effect(word.name, word.value) {
                Some(why) => told.ignore(word.origin, word.value, why),
                None => kept.push(word),
            }
        }
        self.0 = kept;
        Ok(())
    }

    /// What was said under a name, weakest first.
    ///
    /// # Errors
    ///
    /// A value that cannot be read.
    pub fn all<T, E: ToString>(
        &self,
        name: &str,
        read: impl Fn(&'a str) -> Result<T, E>,
    ) -> Result<Vec<Candidate<T>>, SettingsError> {
        let words = self.0.iter().filter(|word| word.name == name);
        words
            .map(|word| match read(word.value) {
                Ok(value) => Ok(Candidate { value, origin: word.origin.clone() }),
                Err(error) => Err(SettingsError::value(&word.origin, word.value, error)),
            })
            .collect()
    }
}

/// Why something that was said has no effect; `None` for what has.
fn without_effect(name: &str, value: &str) -> Option<&'static str> {
    let no = micrun_image_spec::text::parse_bool(value) == Some(false);
    match name {
        annotation::RUNTIME_HUGEPAGE_ENABLE if !no => Some("guests get ordinary pages"),
        annotation::RUNTIME_DISABLE_NEW_NETNS if no => Some("guests have no network namespace"),
        _ if name.starts_with(annotation::COMPATIBILITY_PREFIX) => Some("it is a note for people"),
        _ if name.starts_with(annotation::ADDRESS) => Some("this container is not part of a pod of CRI"),
        _ if Kind::of(name).is_none() => Some("nobody reads it"),
        _ => None,
    }
}
