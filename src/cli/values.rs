//! Values of flags, whose errors say what is allowed. Pure.

use std::fmt::Display;
use std::ops::Bound::Included;
use std::ops::RangeBounds;
use std::str::FromStr;
use std::time::Duration;

use chrono::DateTime;
use url::Url;

use crate::domain::secret::{InvalidSecret, Secret};

/// Reads a duration, such as `250ms`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "allowed: a number and a unit, such as 250ms, 40s, 5m or 2h".to_owned())
}

/// Reads an RFC 3339 time, which the API takes as it is written.
pub(super) fn time(text: &str) -> Result<String, String> {
    match DateTime::parse_from_rfc3339(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("allowed: an RFC 3339 time, such as 2026-02-25T12:00:00Z".to_owned()),
    }
}

/// Reads the name of a time zone.
pub(super) fn time_zone(text: &str) -> Result<String, String> {
    match text.parse::<chrono_tz::Tz>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("allowed: an IANA time zone, such as Europe/Berlin or UTC".to_owned()),
    }
}

/// Reads a whole number within `range`.
pub(super) fn whole<T, R>(range: R) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + Display,
    R: RangeBounds<T> + Clone,
{
    move |text| match text.parse::<T>() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(match (range.start_bound(), range.end_bound()) {
            (Included(least), Included(most)) => format!("allowed: a whole number from {least} to {most}"),
            (Included(least), _) => format!("allowed: a whole number from {least} on"),
            _ => "allowed: a whole number".to_owned(),
        }),
    }
}

/// Reads the URL of an HTTP server.
pub(super) fn http_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(
            "a URL starts with http:// or https:// and has a host, such as https://bellwether.example.com"
                .to_owned(),
        ),
    }
}

/// Reads a signing secret.
pub(super) fn secret(text: &str) -> Result<Secret, InvalidSecret> {
    Secret::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_value_is_told_the_allowed_ones() {
        for (refused, allowed) in [
            (duration("soon").map(drop), "250ms"),
            (duration("").map(drop), "250ms"),
            (duration("5").map(drop), "a unit"),
            (time("yesterday").map(drop), "2026-02-25T12:00:00Z"),
            (time_zone("Mars/X").map(drop), "Europe/Berlin"),
            (whole(1..=250_u32)("x").map(drop), "from 1 to 250"),
            (whole(1..=250_u32)("251").map(drop), "from 1 to 250"),
            (whole(1_u32..)("-1").map(drop), "from 1 on"),
            (http_url("nope").map(drop), "starts with http:// or https://"),
            (
                http_url("ftp://a.example").map(drop),
                "starts with http:// or https://",
            ),
            (http_url("http://").map(drop), "has a host"),
        ] {
            let told = refused.expect_err(allowed);
            assert!(told.contains(allowed), "{told}");
        }
        assert_eq!(
            time("2026-02-25T12:00:00+01:00").as_deref(),
            Ok("2026-02-25T12:00:00+01:00")
        );
        assert_eq!(whole(0..=100_u8)("100"), Ok(100));
    }
}
