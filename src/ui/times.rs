//! Times, spans and numbers in the words of a page.

use std::fmt;

use chrono::{
    DateTime, Datelike as _, NaiveDateTime, Offset as _, SecondsFormat, TimeDelta, TimeZone as _, Utc,
};
use chrono_tz::Tz;

/// A time as it is shown, with the machine's form beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) text: String,
    pub(super) utc: String,
}

/// `<time datetime="2026-11-22T13:02:00Z">14:02</time>`
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<time datetime=\"{}\">{}</time>", self.utc, self.text)
    }
}

/// The time zone of a page, and its present.
#[derive(Debug, Clone, Copy)]
pub(super) struct Zone {
    tz: Tz,
    now: DateTime<Utc>,
    /// True if the visitor has switched from the site's zone to UTC.
    is_switched: bool,
}

impl Zone {
    /// The zone of this name; UTC if there is none.
    pub(super) fn new(name: &str, now: DateTime<Utc>) -> Self {
        let tz = name.parse().unwrap_or(Tz::UTC);
        let is_switched = false;
        Self { tz, now, is_switched }
    }

    /// UTC, to which the visitor has switched.
    pub(super) fn switched(now: DateTime<Utc>) -> Self {
        let is_switched = true;
        Self {
            tz: Tz::UTC,
            now,
            is_switched,
        }
    }

    pub(super) fn is_switched(&self) -> bool {
        self.is_switched
    }

    /// The address of another page, whose times are shown as on this one.
    pub(super) fn link(&self, path: String) -> String {
        match (self.is_switched, path.contains('?')) {
            (false, _) => path,
            (true, false) => format!("{path}?tz=utc"),
            (true, true) => format!("{path}&tz=utc"),
        }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// `Europe/Berlin (UTC+1)`, or `UTC`.
    pub(super) fn label(&self) -> String {
        let name = self.tz.name();
        if matches!(self.tz, Tz::UTC) {
            return "UTC".to_owned();
        }
        let seconds = self.now.with_timezone(&self.tz).offset().fix().local_minus_utc();
        let (hours, minutes) = (seconds.abs() / 3_600, seconds.abs() / 60 % 60);
        let sign = if seconds < 0 { '−' } else { '+' };
        match minutes {
            0 => format!("{name} (UTC{sign}{hours})"),
            minutes => format!("{name} (UTC{sign}{hours}:{minutes:02})"),
        }
    }

    /// `14:02` today, else `23 Nov, 09:00`.
    pub(super) fn minute(&self, at: DateTime<Utc>) -> Stamp {
        let is_today = self.date(at) == self.date(self.now);
        self.stamp(at, if is_today { "%H:%M" } else { "%-d %b, %H:%M" })
    }

    /// `23 Nov, 09:00`
    pub(super) fn dated(&self, at: DateTime<Utc>) -> Stamp {
        self.stamp(at, "%-d %b, %H:%M")
    }

    /// `14:02:51` today, else `23 Nov, 09:00:12`.
    pub(super) fn second(&self, at: DateTime<Utc>) -> Stamp {
        let is_today = self.date(at) == self.date(self.now);
        self.stamp(at, if is_today { "%H:%M:%S" } else { "%-d %b, %H:%M:%S" })
    }

    /// `22 Nov, 14:03:07`
    pub(super) fn listed(&self, at: DateTime<Utc>) -> Stamp {
        self.stamp(at, "%-d %b, %H:%M:%S")
    }

    /// `22 Nov, 14:03:07.101`
    pub(super) fn exact(&self, at: DateTime<Utc>) -> Stamp {
        self.stamp(at, "%-d %b, %H:%M:%S%.3f")
    }

    /// `2026-11-22T14:02`, as a field of a form has it.
    pub(super) fn field(&self, at: DateTime<Utc>) -> String {
        at.with_timezone(&self.tz).format("%Y-%m-%dT%H:%M").to_string()
    }

    /// Reads a field of a form. Of an hour that a clock shows twice, the first one counts, so that
    /// nothing is left out; an hour that it leaves out begins where the clock goes on.
    pub(super) fn read_field(&self, text: &str) -> Option<DateTime<Utc>> {
        let formats = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"];
        let read = formats
            .iter()
            .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())?;
        let later = || {
            self.tz
                .from_local_datetime(&(read + TimeDelta::hours(1)))
                .earliest()
        };
        let local = self.tz.from_local_datetime(&read).earliest().or_else(later)?;
        Some(local.to_utc())
    }

    /// `14:02`, whatever the day.
    pub(super) fn clock(&self, at: DateTime<Utc>) -> String {
        at.with_timezone(&self.tz).format("%H:%M").to_string()
    }

    /// `Sunday, 14:00`
    pub(super) fn hour_of_week(&self) -> String {
        self.now.with_timezone(&self.tz).format("%A, %H:00").to_string()
    }

    fn stamp(&self, at: DateTime<Utc>, format: &str) -> Stamp {
        let local = at.with_timezone(&self.tz);
        let is_this_year = local.year() == self.now.with_timezone(&self.tz).year();
        let format = match is_this_year {
            true => format.to_owned(),
            false => format.replace("%b", "%b %Y"),
        };
        Stamp {
            text: local.format(&format).to_string(),
            utc: at.to_rfc3339_opts(SecondsFormat::Millis, true),
        }
    }

    fn date(&self, at: DateTime<Utc>) -> chrono::NaiveDate {
        at.with_timezone(&self.tz).date_naive()
    }
}

/// `2 min ago`
pub(super) fn ago(span: TimeDelta) -> String {
    match span.num_seconds() {
        ..=1 => "just now".to_owned(),
        seconds => format!("{} ago", span_words(TimeDelta::seconds(seconds))),
    }
}

/// `41 min`: the largest unit of which there are two, or one exactly.
pub(super) fn span_words(span: TimeDelta) -> String {
    let seconds = span.num_seconds().max(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// `under 1 ms`, `84 ms`, `1.2 s`, `30 s`
pub(super) fn took(ms: i64) -> String {
    match ms.max(0) {
        0 => "under 1 ms".to_owned(),
        ms @ 1..1_000 => format!("{ms} ms"),
        ms @ 1_000..10_000 => {
            let tenths = ms / 100;
            match tenths % 10 {
                0 => format!("{} s", tenths / 10),
                tenth => format!("{}.{tenth} s", tenths / 10),
            }
        }
        ms => format!("{} s", ms / 1_000),
    }
}

/// `1,204`
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 webhook`, `2 webhooks`
pub(super) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    #[test]
    fn times_are_shown_in_the_zone_of_the_site() {
        let zone = Zone::new("Europe/Berlin", at("2026-11-22T13:05:00Z"));
        assert_eq!(zone.label(), "Europe/Berlin (UTC+1)");
        assert_eq!(zone.minute(at("2026-11-22T13:02:00Z")).text, "14:02");
        assert_eq!(zone.minute(at("2026-11-22T23:30:00Z")).text, "23 Nov, 00:30");
        assert_eq!(zone.minute(at("2025-01-02T03:04:05Z")).text, "2 Jan 2025, 04:04");
        assert_eq!(
            zone.exact(at("2026-11-22T13:03:07.101Z")).text,
            "22 Nov, 14:03:07.101"
        );
        let html = zone.second(at("2026-11-22T13:03:07Z")).to_string();
        assert_eq!(
            html,
            "<time datetime=\"2026-11-22T13:03:07.000Z\">14:03:07</time>"
        );
        assert_eq!(
            Zone::new("Asia/Kolkata", at("2026-11-22T13:05:00Z")).label(),
            "Asia/Kolkata (UTC+5:30)"
        );
        assert_eq!(Zone::new("nowhere", at("2026-11-22T13:05:00Z")).label(), "UTC");
    }

    #[test]
    fn a_field_is_read_in_the_zone_of_the_site() {
        let zone = Zone::new("Europe/Berlin", at("2026-11-22T13:05:00Z"));
        for (text, wanted) in [
            ("2026-11-22T14:02", Some("2026-11-22T13:02:00Z")),
            ("2026-10-25T02:30", Some("2026-10-25T00:30:00Z")),
            ("2026-03-29T02:30", Some("2026-03-29T01:30:00Z")),
            ("tomorrow", None),
        ] {
            assert_eq!(zone.read_field(text), wanted.map(at), "{text}");
        }
        assert_eq!(zone.field(at("2026-11-22T13:02:00Z")), "2026-11-22T14:02");
    }

    #[test]
    fn spans_and_numbers_are_short() {
        for (ms, wanted) in [(84, "84 ms"), (1_000, "1 s"), (1_250, "1.2 s"), (30_004, "30 s")] {
            assert_eq!(took(ms), wanted);
        }
        for (seconds, wanted) in [
            (61, "61 s"),
            (2_460, "41 min"),
            (72_000, "20 h"),
            (432_000, "5 days"),
        ] {
            assert_eq!(span_words(TimeDelta::seconds(seconds)), wanted);
        }
        assert_eq!(ago(TimeDelta::seconds(130)), "2 min ago");
        for (number, wanted) in [(0, "0"), (999, "999"), (1_204, "1,204"), (1_000_000, "1,000,000")] {
            assert_eq!(count(number), wanted);
        }
        assert_eq!(counted(1, "webhook"), "1 webhook");
    }
}
