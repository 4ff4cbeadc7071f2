//! A webhook's URL.

use std::fmt;
use std::net::IpAddr;

use url::{Host, ParseError, Position, Url};

use super::address::{AddressRules, Refusal, Verdict};
use super::hidden::is_unseen;

/// Longest URL, in characters, as its owner wrote it.
pub(crate) const MAX_URL_CHARS: usize = 500;

/// Rules for URLs that webhooks may have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TargetRules {
    /// Allows `http`, for development.
    pub(crate) allow_http: bool,
    /// Judges an address that stands in the URL itself. A name is judged when it is resolved, at
    /// every connect.
    pub(crate) addresses: AddressRules,
}

/// A URL that may be called. Its path is a credential at some receivers, so `Debug` shows the
/// masked form only.
#[derive(Clone, PartialEq, Eq)]
pub struct TargetUrl(Url);

/// Reason why a text cannot be a target. It never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    #[error("a URL has at most {MAX_URL_CHARS} characters, this one has {0}")]
    TooLong(usize),
    #[error("a URL has no spaces, control characters or invisible characters")]
    Blank,
    #[error("this is not a URL such as https://example.com/hook")]
    NotAUrl,
    #[error("a URL starts with https://")]
    Scheme,
    #[error("a URL starts with https:// (http:// only where `webhooks.allow_http` is on)")]
    HttpNotAllowed,
    #[error("a URL has no user name and password in it; put credentials into a header")]
    Credentials,
    #[error("the URL has no host")]
    MissingHost,
    #[error("the URL's host is not a valid name")]
    InvalidHost,
    #[error("the URL's port is not a number from 1 to 65535")]
    InvalidPort,
    #[error("port {0} belongs to another protocol and is blocked, as in browsers")]
    BlockedPort(u16),
    #[error("the address in the URL may not be called: {0}")]
    Address(Refusal),
}

impl TargetUrl {
    /// Reads a URL given by a user.
    ///
    /// Refuses what the WHATWG parser would silently repair (missing slashes, back-slashes, tabs),
    /// because what a user reads and what is called must be the same host. Drops a fragment, which
    /// is never sent to a server.
    pub(crate) fn parse(text: &str, rules: &TargetRules) -> Result<Self, InvalidTarget> {
        let chars = text.chars().count();
        if chars > MAX_URL_CHARS {
            return Err(InvalidTarget::TooLong(chars));
        }
        // The parser would drop some of these from a host and encode the others.
        if text.chars().any(is_unseen) {
            return Err(InvalidTarget::Blank);
        }
        let (scheme, rest) = text.split_once(':').ok_or(InvalidTarget::NotAUrl)?;
        let secure = scheme.eq_ignore_ascii_case("https");
        if !secure && !scheme.eq_ignore_ascii_case("http") {
            return Err(if rest.starts_with("//") {
                InvalidTarget::Scheme
            } else {
                InvalidTarget::NotAUrl
            });
        }
        if !secure && !rules.allow_http {
            return Err(InvalidTarget::HttpNotAllowed);
        }
        check_authority(rest)?;
        let url = Self::from_trusted(text)?;
        match url.0.host() {
            Some(Host::Domain(name)) => check_name(name)?,
            Some(Host::Ipv4(ip)) => check_address(ip.into(), rules)?,
            Some(Host::Ipv6(ip)) => check_address(ip.into(), rules)?,
            None => return Err(InvalidTarget::MissingHost),
        }
        // `port()` is none for the scheme's own port, which is not blocked.
        match url.0.port() {
            Some(port) if BLOCKED_PORTS.contains(&port) => Err(InvalidTarget::BlockedPort(port)),
            _ => Ok(url),
        }
    }

    /// Reads back a URL that was accepted before: from the database. The rules may have changed
    /// since; what must never be called is refused when it is connected to.
    pub fn from_trusted(text: &str) -> Result<Self, InvalidTarget> {
        let mut url = Url::parse(text).map_err(|error| match error {
            ParseError::EmptyHost => InvalidTarget::MissingHost,
            ParseError::IdnaError
            | ParseError::InvalidIpv4Address
            | ParseError::InvalidIpv6Address
            | ParseError::InvalidDomainCharacter => InvalidTarget::InvalidHost,
            ParseError::InvalidPort => InvalidTarget::InvalidPort,
            _ => InvalidTarget::NotAUrl,
        })?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(InvalidTarget::Scheme);
        }
        url.set_fragment(None);
        Ok(Self(url))
    }

    /// The URL itself. Never log it.
    pub fn reveal(&self) -> &Url {
        &self.0
    }

    /// Scheme, host, port unless it is the scheme's own, and the last 4 characters of what follows
    /// them: the part that logs, errors and lists may show.
    pub(crate) fn masked(&self) -> String {
        let scheme = self.0.scheme();
        let host_and_port = &self.0[Position::BeforeHost..Position::BeforePath];
        let rest = &self.0[Position::BeforePath..];
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        let shown_from = rest.char_indices().rev().nth(3).map_or(0, |(at, _)| at);
        format!("{scheme}://{host_and_port}/…{}", &rest[shown_from..])
    }
}

impl fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

/// Checks what follows the scheme's colon, before the parser repairs it.
fn check_authority(rest: &str) -> Result<(), InvalidTarget> {
    let rest = rest.strip_prefix("//").ok_or(InvalidTarget::NotAUrl)?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = &path[..path.find(['?', '#']).unwrap_or(path.len())];
    // Some readers take a back-slash for a slash, others for a part of the user name or host.
    if authority.contains('\\') || path.contains('\\') {
        return Err(InvalidTarget::NotAUrl);
    }
    if authority.contains('@') {
        return Err(InvalidTarget::Credentials);
    }
    if authority.is_empty() || authority.starts_with(':') {
        return Err(InvalidTarget::MissingHost);
    }
    Ok(())
}

/// A host name after the parser made it ASCII: labels of letters, digits, hyphens and underscores
/// (RFC 1123 §2.1; the underscore is not in it, but real hosts have it), 63 characters each and 253
/// in all (RFC 1035 §2.3.4).
fn check_name(name: &str) -> Result<(), InvalidTarget> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if name.len() <= 253 && name.split('.').all(label) {
        Ok(())
    } else {
        Err(InvalidTarget::InvalidHost)
    }
}

/// The parser has by now turned every spelling of an IPv4 address (decimal, hexadecimal, octal,
/// short, with a trailing dot, in full-width digits) into one.
fn check_address(ip: IpAddr, rules: &TargetRules) -> Result<(), InvalidTarget> {
    match rules.addresses.check(ip) {
        Verdict::Public | Verdict::AllowedPrivate => Ok(()),
        Verdict::Refused(refusal) => Err(InvalidTarget::Address(refusal)),
    }
}

/// The bad ports of the Fetch standard, section "Port blocking".
#[rustfmt::skip]
const BLOCKED_PORTS: &[u16] = &[
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
    111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540,
    548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566,
    6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
];

#[cfg(test)]
mod tests;
