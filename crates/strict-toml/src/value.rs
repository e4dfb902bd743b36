//! From TOML to what a key takes.

use std::str::FromStr;
use std::time::Duration;

use micrun_image_spec::text::excerpt;
use micrun_image_spec::units::{ByteSize, Mib, duration};
use toml::Spanned;
use toml::de::DeValue;

/// A value of the file.
pub struct Value<'a>(pub &'a Spanned<DeValue<'a>>);

/// A value that does not fit its key.
pub struct Unfit {
    /// Where it begins, bytes from the beginning of the text.
    pub at: usize,
    /// What it is, for people.
    pub found: String,
    /// What to write instead.
    pub wanted: &'static str,
}

impl Value<'_> {
    /// A whole number within bounds.
    pub fn number(&self, min: u64, max: u64, wanted: &'static str) -> Result<u64, Unfit> {
        self.integer().filter(|number| (min..=max).contains(number)).ok_or_else(|| self.unfit(wanted))
    }

    /// The same, where the bounds fit 32 bits.
    pub fn number32(&self, min: u32, max: u32, wanted: &'static str) -> Result<u32, Unfit> {
        let number = self.number(min.into(), max.into(), wanted)?;
        u32::try_from(number).map_err(|_| self.unfit(wanted))
    }

    /// true or false.
    pub fn flag(&self) -> Result<bool, Unfit> {
        self.0.get_ref().as_bool().ok_or_else(|| self.unfit("true or false, without quotes"))
    }

    /// A number of bytes, or a text such as "256K".
    pub fn size(&self, min: u64, max: u64, wanted: &'static str) -> Result<u64, Unfit> {
        let size = match self.0.get_ref() {
            DeValue::String(text) => text.parse::<ByteSize>().ok().map(|size| size.0),
            _ => self.integer(),
        };
        size.filter(|size| (min..=max).contains(size)).ok_or_else(|| self.unfit(wanted))
    }

    /// A number of MiB, or a text such as "64M".
    pub fn mib(&self) -> Result<Mib, Unfit> {
        let mib = match self.0.get_ref() {
            DeValue::String(text) => text.parse::<ByteSize>().ok().and_then(|size| Mib::try_from(size).ok()),
            _ => self.integer().and_then(|number| u32::try_from(number).ok()).map(Mib),
        };
        // The i32 of micad's message.
        mib.filter(|mib| (1..=i32::MAX.unsigned_abs()).contains(&mib.0))
            .ok_or_else(|| self.unfit("MiB, such as 64, or a size such as \"64M\""))
    }

    /// Seconds, or a text such as "30s" or "5m".
    pub fn duration(&self, max: Duration, wanted: &'static str) -> Result<Duration, Unfit> {
        let time = match self.0.get_ref() {
            DeValue::String(text) => duration(text),
            _ => self.integer().map(Duration::from_secs),
        };
        time.filter(|time| *time <= max).ok_or_else(|| self.unfit(wanted))
    }

    /// A text.
    pub fn text(&self, wanted: &'static str) -> Result<&str, Unfit> {
        self.0.get_ref().as_str().ok_or_else(|| self.unfit(wanted))
    }

    /// A word with a meaning.
    pub fn word<T>(&self, read: impl FnOnce(&str) -> Option<T>, wanted: &'static str) -> Result<T, Unfit> {
        read(self.text(wanted)?).ok_or_else(|| self.unfit(wanted))
    }

    /// A list of texts, each of which means something.
    pub fn list<T: FromStr>(&self, wanted: &'static str) -> Result<Vec<T>, Unfit> {
        let items = self.0.get_ref().as_array().ok_or_else(|| self.unfit(wanted))?;
        items.iter().map(|item| Value(item).word(|text| text.parse().ok(), wanted)).collect()
    }

    fn integer(&self) -> Option<u64> {
        let integer = self.0.get_ref().as_integer()?;
        u64::from_str_radix(integer.as_str(), integer.radix()).ok()
    }

    /// For `map_err`: this value, and what to write instead of it.
    pub fn unfit(&self, wanted: &'static str) -> Unfit {
        let found = match self.0.get_ref() {
            DeValue::String(text) => format!("\"{}\"", excerpt(text)),
            DeValue::Integer(number) => excerpt(number.as_str()),
            DeValue::Float(number) => excerpt(number.as_str()),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Datetime(_) => "a date".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a section".to_owned(),
        };
        Unfit { at: self.0.span().start, found, wanted }
    }
}
