//! The shim's log: lines of logfmt to the FIFO in the bundle, whose bytes containerd copies into its own log.
//!
//! A line looks like containerd's own. Beside its own fields it has the container that the work is for, and the
//! trace and the span that it is part of, where a caller named one.

use std::fmt::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

use crate::config::node::LogLevel;
use crate::trace::Scope;

/// The longest line, bytes (`PIPE_BUF`): a longer one could be torn by another writer's.
const MAX_LINE: usize = 4096;

/// Sends everything that is logged to the FIFO at `path`. Without one, nothing is logged: a shim does not
/// fail for want of a log.
pub fn init(path: &Path, level: LogLevel) {
    // Open for reading too, so neither opening nor writing ever waits for containerd or fails without it.
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(fifo) = rustix::fs::open(path, flags, Mode::empty()) else { return };
    // Fails only where one was set before.
    let _ = tracing::subscriber::set_global_default(Log { fifo, level: level.into() });
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Level {
        match level {
            LogLevel::Error => Level::ERROR,
            LogLevel::Warn => Level::WARN,
            LogLevel::Info => Level::INFO,
            LogLevel::Debug => Level::DEBUG,
        }
    }
}

/// Takes events. Spans are `trace`'s: those of `tracing` would live as long as the longest task that they are
/// entered in, and a call is over before that.
struct Log {
    fifo: OwnedFd,
    level: Level,
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level.into())
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::new(SystemTime::now(), *event.metadata().level());
        event.record(&mut line);
        // Work without a scope has nothing to add.
        let _ = Scope::look(|scope| line.belongs_to(scope));
        // A full FIFO loses the line: nobody has read it for 64 KiB.
        let _ = rustix::io::write(&self.fifo, line.finish().as_bytes());
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// A line of logfmt, as containerd's own logger writes it.
struct Line {
    text: String,
    /// The event names its container itself.
    names_container: bool,
}

impl Line {
    fn new(at: SystemTime, level: Level) -> Line {
        let level = match level {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        let mut line = Line { text: String::with_capacity(256), names_container: false };
        line.field("time", format_args!("{}", Rfc3339(at)));
        line.field("level", format_args!("{level}"));
        line
    }

    fn field(&mut self, name: &str, value: fmt::Arguments<'_>) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(name);
        self.text.push('=');
        // A formatter that fails leaves a value out.
        let _ = match value.as_str() {
            Some(plain) => Value(plain).write_to(&mut self.text),
            None => Value(&value.to_string()).write_to(&mut self.text),
        };
    }

    fn belongs_to(&mut self, scope: &Scope) {
        if let Some(key) = scope.container().filter(|_| !self.names_container) {
            self.field("container", format_args!("{key}"));
        }
        if let Some(context) = scope.trace() {
            self.field("trace_id", format_args!("{}", context.trace));
            self.field("span_id", format_args!("{}", context.span));
        }
    }

    fn finish(mut self) -> String {
        if self.text.len() >= MAX_LINE {
            self.text.truncate(self.text.floor_char_boundary(MAX_LINE - 1));
        }
        self.text.push('\n');
        self.text
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.field("msg", format_args!("{value:?}")),
            name => {
                self.names_container |= name == "container";
                self.field(name, format_args!("{value:?}"));
            }
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// A value, in quotes where it could be read as something else.
struct Value<'a>(&'a str);

impl Value<'_> {
    fn write_to(&self, text: &mut String) -> fmt::Result {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/@^+".contains(&byte);
        if !self.0.is_empty() && self.0.bytes().all(plain) {
            return text.write_str(self.0);
        }
        text.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => text.write_str("\\\"")?,
                '\\' => text.write_str("\\\\")?,
                '\n' => text.write_str("\\n")?,
                '\r' => text.write_str("\\r")?,
                '\t' => text.write_str("\\t")?,
                c if c.is_control() => write!(text, "\\u{:04x}", u32::from(c))?,
                c => text.write_char(c)?,
            }
        }
        text.write_char('"')
    }
}

/// A time as RFC 3339 has it, in UTC, with nanoseconds.
struct Rfc3339(SystemTime);

const SECONDS_OF_A_DAY: u64 = 24 * 60 * 60;

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A clock before 1970 is not set.
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, second) = (since.as_secs() / SECONDS_OF_A_DAY, since.as_secs() % SECONDS_OF_A_DAY);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z",
            since.subsec_nanos()
        )
    }
}

/// Year, month and day of a day since 1970-01-01.
fn date(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    // 400 years are always equally long.
    const ERA: u64 = 146_097;
    let mut year = 1970 + days / ERA * 400;
    days %= ERA;
    let length = |year| if leap(year) { 366 } else { 365 };
    while days >= length(year) {
        days -= length(year);
        year += 1;
    }
    let months = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in months {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::id::{Id, Key};
    use crate::trace::{Span, TraceContext, on_behalf_of, within};

    fn at(seconds: u64) -> String {
        Rfc3339(UNIX_EPOCH + Duration::new(seconds, 5)).to_string()
    }

    /// Seconds and dates: `date -u -d @N`.
    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(at(0), "1970-01-01T00:00:00.000000005Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59.000000005Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000000005Z");
        assert_eq!(at(1_795_355_458), "2026-11-22T13:50:58.000000005Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00.000000005Z");
        assert_eq!(at(253_402_300_799), "9999-12-31T23:59:59.000000005Z");
    }

    #[test]
    fn a_value_is_quoted_where_it_has_to_be() {
        let written = |value: &str| {
            let mut text = String::new();
            Value(value).write_to(&mut text).unwrap();
            text
        };
        assert_eq!(written("default/z1"), "default/z1");
        assert_eq!(written(""), r#""""#);
        assert_eq!(written("a b"), r#""a b""#);
        assert_eq!(written("a=b\n\"c\" \\ \u{1b}[0m"), r#""a=b\n\"c\" \\ \u001b[0m""#);
    }

    /// The line that an event would be.
    fn line(log: impl FnOnce()) -> String {
        use std::sync::{Arc, Mutex};

        struct Kept(Arc<Mutex<String>>);
        impl Subscriber for Kept {
            fn enabled(&self, _: &Metadata<'_>) -> bool {
                true
            }
            fn event(&self, event: &Event<'_>) {
                let mut line = Line::new(UNIX_EPOCH, *event.metadata().level());
                event.record(&mut line);
                let _ = Scope::look(|scope| line.belongs_to(scope));
                *self.0.lock().unwrap() = line.finish();
            }
            fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
                span::Id::from_u64(1)
            }
            fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
            fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
            fn enter(&self, _: &span::Id) {}
            fn exit(&self, _: &span::Id) {}
        }
        let kept = Arc::default();
        tracing::subscriber::with_default(Kept(Arc::clone(&kept)), log);
        kept.lock().unwrap().clone()
    }

    const HEAD: &str = "time=\"1970-01-01T00:00:00.000000000Z\" level=warning msg=";

    #[test]
    fn a_line_has_the_fields_of_its_event() {
        let error = std::io::Error::other("no room");
        let said = line(|| tracing::warn!(pid = 7, why = "x y", %error, "it ends"));
        assert_eq!(said, format!("{HEAD}\"it ends\" pid=7 why=\"x y\" error=\"no room\"\n"));
    }

    #[tokio::test]
    async fn a_line_says_whose_work_it_is() {
        let key = Key { namespace: Id::new("n").unwrap(), id: Id::new("a").unwrap() };
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let span = TraceContext::parse(traceparent).map(Span::Callers);
        let said = within(&key, on_behalf_of(span, async { line(|| tracing::warn!("x")) })).await;
        let whose = "container=n/a trace_id=0af7651916cd43dd8448eb211c80319c span_id=b7ad6b7169203331";
        assert_eq!(said, format!("{HEAD}x {whose}\n"));
        let said = within(&key, async { line(|| tracing::warn!(container = "m/b", "x")) }).await;
        assert_eq!(said, format!("{HEAD}x container=m/b\n"), "the event knows better");
    }

    #[test]
    fn a_line_fits_into_a_pipe_at_once() {
        let said = line(|| tracing::warn!(long = "ä".repeat(5000), "x"));
        assert!(said.len() <= MAX_LINE && said.ends_with('\n'), "{}", said.len());
    }
}
