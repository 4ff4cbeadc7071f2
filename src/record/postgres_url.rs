//! The URL of the database, read so that no part of it is in an error: any may be a password.

use std::fs::File;
use std::io::{self, Read as _};
use std::str::FromStr as _;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use crate::domain::near_words::nearest;

/// Parameters that the client uses.
const USED: &[&str] = &[
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// Parameters of PostgreSQL's own client that have no effect here. Providers put some of them into
/// the URLs that they hand out. (PostgreSQL's documentation, 32.1.2.)
const IGNORED: &[&str] = &[
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "passfile",
    "replication",
    "require_auth",
    "requirepeer",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslnegotiation",
    "sslpassword",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
];

/// Parameters that name a file.
const FILES: &[&str] = &[
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslrootcert",
];

/// Beginning of a certificate or a key.
const PEM: &str = "-----BEGIN ";
/// Bytes of a file in which that is looked for.
const MAX_PEM_BYTES: u64 = 4 << 20;

/// Similarity from which on a parameter is taken for a misspelling of another one.
const NEAR: f64 = 0.8;

/// Refusal of a `postgres.url`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidPostgresUrl {
    #[error("{PLACE}: cannot be read{}; {FORM}", in_brackets(.0), PLACE = PLACE, FORM = FORM)]
    Unreadable(String),
    #[error("{PLACE}: a parameter of it is unknown; did you mean `{0}`?", PLACE = PLACE)]
    Misspelled(&'static str),
    #[error("{PLACE}: a parameter of it is unknown; allowed: {}", USED.join(", "), PLACE = PLACE)]
    Unknown,
    #[error("{PLACE}: its parameter `{0}` is wrong; allowed: {1}", PLACE = PLACE)]
    Parameter(&'static str, &'static str),
    #[error("{PLACE}: the file that its parameter `{0}` names cannot be read: {1}", PLACE = PLACE)]
    File(&'static str, String),
}

/// The key, with the value hidden.
const PLACE: &str = "postgres.url = \"…\"";
const UNESCAPED: &str = "a password's `@`, `/`, `?`, `#` and `%` are written %40, %2F, %3F, %23 and %25";
const FORM: &str = "it looks like postgres://user:password@host:port/database?sslmode=require";

fn in_brackets(why: &str) -> String {
    if why.is_empty() {
        String::new()
    } else {
        format!(" ({why})")
    }
}

/// An error of the URL's parser as a reader of the URL sees it.
fn in_words(error: url::ParseError) -> &'static str {
    match error {
        url::ParseError::RelativeUrlWithoutBase => "it does not begin with postgres://",
        url::ParseError::EmptyHost => "it names no host",
        url::ParseError::InvalidPort => "the port is no number from 1 to 65535",
        _ => "",
    }
}

/// Reads the URL. Parameters without an effect are left out.
pub(super) fn parse(text: &str) -> Result<PgConnectOptions, InvalidPostgresUrl> {
    let mut url =
        Url::parse(text).map_err(|error| InvalidPostgresUrl::Unreadable(in_words(error).to_owned()))?;
    // A password with such a character in it ends early, and its rest would be taken for the host.
    if url.path().contains('@') || url.fragment().is_some() {
        return Err(InvalidPostgresUrl::Unreadable(UNESCAPED.to_owned()));
    }
    let mut kept = Vec::new();
    for (name, value) in url.query_pairs() {
        check(&name, &value)?;
        if !IGNORED.contains(&name.as_ref()) {
            kept.push((name.into_owned(), value.into_owned()));
        }
    }
    url.set_query(None);
    if !kept.is_empty() {
        url.query_pairs_mut().extend_pairs(kept);
    }
    // Its error may hold a value.
    PgConnectOptions::from_str(url.as_str()).map_err(|_| InvalidPostgresUrl::Unreadable(String::new()))
}

/// Names the parameters of the URL that have no effect.
pub(crate) fn ignored_parameters(text: &str) -> Vec<&'static str> {
    let Ok(url) = Url::parse(text) else {
        return Vec::new();
    };
    let names = url.query_pairs().map(|(name, _)| name);
    names
        .filter_map(|name| IGNORED.iter().find(|ignored| **ignored == name).copied())
        .collect()
}

/// Checks one parameter. A name that is unknown is not shown: it may be the rest of a password with
/// a question mark in it.
fn check(name: &str, value: &str) -> Result<(), InvalidPostgresUrl> {
    if name.starts_with("options[") {
        return Ok(());
    }
    let known = USED.iter().chain(IGNORED);
    let Some(name) = known.clone().find(|known| **known == name).copied() else {
        let meant = nearest(name, known.copied(), NEAR);
        return Err(meant.map_or(InvalidPostgresUrl::Unknown, InvalidPostgresUrl::Misspelled));
    };
    let wrong = |allowed| Err(InvalidPostgresUrl::Parameter(name, allowed));
    match name {
        "sslmode" | "ssl-mode" if value.parse::<PgSslMode>().is_err() => {
            wrong("disable, allow, prefer, require, verify-ca, verify-full")
        }
        "port" if !value.parse::<u16>().is_ok_and(|port| port > 0) => wrong("1 to 65535"),
        "hostaddr" if value.parse::<std::net::IpAddr>().is_err() => wrong("an IP address"),
        "statement-cache-capacity" if value.parse::<usize>().is_err() => wrong("a whole number"),
        // The text of a certificate or a key may stand there itself.
        _ if FILES.contains(&name) && !value.starts_with(PEM) => match start_of(value) {
            Ok(bytes) if bytes.windows(PEM.len()).any(|part| part == PEM.as_bytes()) => Ok(()),
            Ok(_) => Err(InvalidPostgresUrl::File(
                name,
                "it holds nothing in PEM".to_owned(),
            )),
            Err(error) => Err(InvalidPostgresUrl::File(name, error.to_string())),
        },
        _ => Ok(()),
    }
}

/// The first bytes of a file, more than a bundle of certificates has.
fn start_of(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_PEM_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
