//! The one time stamp of everything in an image.

use std::fmt;
use std::str::FromStr;

use micrun_image_spec::text::excerpt;

/// Seconds since 1970, as in SOURCE_DATE_EPOCH (reproducible-builds.org). A tar header holds it in eleven octal
/// digits, which is the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Epoch(u64);

/// A text that is no SOURCE_DATE_EPOCH.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("SOURCE_DATE_EPOCH is `{0}`: it must be a number of seconds since 1970, up to {max}", max = Epoch::MAX)]
pub struct BadEpoch(String);

impl Epoch {
    const MAX: u64 = 0o77_777_777_777;

    /// Seconds since 1970.
    pub fn seconds(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for Epoch {
    type Error = BadEpoch;

    fn try_from(seconds: u64) -> Result<Self, Self::Error> {
        if seconds <= Epoch::MAX { Ok(Epoch(seconds)) } else { Err(BadEpoch(seconds.to_string())) }
    }
}

impl FromStr for Epoch {
    type Err = BadEpoch;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(seconds @ 0..=Epoch::MAX) if digits => Ok(Epoch(seconds)),
            _ => Err(BadEpoch(excerpt(text))),
        }
    }
}

impl fmt::Display for Epoch {
    /// As RFC 3339 in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0 / 86_400, self.0 % 86_400);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Year, month and day of a day counted from 1970-01-01. The year is taken to begin in March, so that the leap
/// day is its last.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    const DAYS_FROM_MARCH_OF_YEAR_0: u64 = 719_468;
    const DAYS_PER_400_YEARS: u64 = 146_097;
    let days = days + DAYS_FROM_MARCH_OF_YEAR_0;
    let (era, day_of_era) = (days / DAYS_PER_400_YEARS, days % DAYS_PER_400_YEARS);
    let leap_days = day_of_era / 1460 + day_of_era / 146_096;
    let year_of_era = (day_of_era + day_of_era / 36_524 - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_known_dates() {
        for (seconds, text) in [
            ("0", "1970-01-01T00:00:00Z"),
            ("951782400", "2000-02-29T00:00:00Z"),
            ("1735689599", "2024-12-31T23:59:59Z"),
            ("4107542400", "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(seconds.parse::<Epoch>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in ["", "-1", "+1", "now", "1.5", "8589934592", "99999999999999999999", " 1"] {
            assert!(text.parse::<Epoch>().is_err(), "{text}");
        }
    }
}
