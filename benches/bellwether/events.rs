//! The events that are published: the same ones in every run.

use std::fmt::Write as _;

use bellwether::domain::time::from_ms;

/// Pages of a site; every second visit is to the first few.
const PAGES: u64 = 20;
const SOURCES: [&str; 6] = [
    "Google",
    "Hacker News",
    "Bing",
    "newsletter",
    "Mastodon",
    "DuckDuckGo",
];
/// Milliseconds over which event times are spread: at the end every visitor is a current one.
pub const SPAN_MS: u64 = 240_000;

/// Visits of visitors to their sites. All sites and visitors are equally busy, which is the worst
/// case: the next one was last seen long ago.
#[derive(Debug, Clone, Copy)]
pub struct Visits {
    pub sites: u64,
    pub visitors: u64,
    pub events: u64,
    /// The time of the last event.
    pub until_ms: i64,
}

/// A visit.
#[derive(Debug, Clone, Copy)]
pub struct Visit {
    pub site: u64,
    pub visitor: u64,
    pub page: u64,
    pub source: Option<&'static str>,
    pub at_ms: i64,
}

impl Visits {
    pub fn visit(&self, number: u64) -> Visit {
        let draw = mix(number);
        let visitor = draw % self.visitors;
        let page = (draw >> 40) % PAGES;
        let ago_ms = (self.events - 1 - number) * SPAN_MS / self.events.max(1);
        Visit {
            site: visitor % self.sites,
            visitor,
            page: if draw >> 63 == 0 { page % 4 } else { page },
            source: SOURCES.get((draw >> 52) as usize % (2 * SOURCES.len())).copied(),
            at_ms: self.until_ms - i64::try_from(ago_ms).unwrap_or(i64::MAX),
        }
    }
}

/// The id of a site.
pub fn site_id(site: u64) -> String {
    format!("www.site-{site:05}.example")
}

/// The id of a visitor, as an analytics ingestion makes it.
pub fn visitor_id(visitor: u64) -> String {
    format!("{:016x}{:016x}", mix(visitor ^ 0x5eed), mix(visitor))
}

/// The path of a page; every site has the same.
pub fn path(page: u64) -> String {
    format!("/articles/2026/{page:02}-how-we-measure")
}

/// Writes a visit in the native format, some 300 bytes.
pub fn write_pageview(out: &mut String, number: u64, visit: &Visit) {
    out.clear();
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        r#"{{"site_id":"{}","type":"pageview","visitor_id":"{}","path":"{}","timestamp":"{}","event_id":"{:032x}""#,
        site_id(visit.site),
        visitor_id(visit.visitor),
        path(visit.page),
        from_ms(visit.at_ms).format("%Y-%m-%dT%H:%M:%S%.3fZ"),
        u128::from(number) << 64 | u128::from(mix(number)),
    );
    if let Some(source) = visit.source {
        let _ = write!(out, r#","source":"{source}""#);
    }
    out.push_str(r#","props":{"browser":"Firefox","os":"Linux","country":"DE"},"screen":"1920x1080"}"#);
}

/// A completed goal; `number` comes back in the notification's path.
pub fn goal(site: u64, number: u64) -> String {
    format!(
        r#"{{"site_id":"{}","type":"goal","name":"Signup","visitor_id":"{}","path":"/n/{number}","event_id":"{:032x}"}}"#,
        site_id(site),
        visitor_id(number),
        u128::from(number) << 64 | u128::from(mix(number)),
    )
}

/// The number that [`goal`] put into the path, as it comes back in a notification's body.
pub fn number(body: &[u8]) -> Option<u64> {
    const BEFORE: &[u8] = b"\"/n/";
    let from = body.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    let digits = body[from..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// Spreads numbers over all 64 bits (the finalizer of SplitMix64).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
