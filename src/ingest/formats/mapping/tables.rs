//! The tables of the formats, as their producers' code and documents have them.

use MappedKind::{Ignored, Presence};

use crate::domain::event::EventKind::{self, Custom, Pageview};
use crate::ingest::formats::time::NoOffset;

/// Meaning of a record's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MappedKind {
    Event(EventKind),
    /// The visitor is there and does nothing that a goal could match.
    Presence,
    Ignored,
}

/// Formats with peculiarities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Oddity {
    None,
    Plausible,
    Posthog,
    Segment,
}

/// The places of one format; each list in the order in which it is looked at.
pub(super) struct FormatTable {
    pub(super) site_id: &'static [&'static str],
    pub(super) site_url: &'static [&'static str],
    pub(super) visitor_id: &'static [&'static str],
    pub(super) kind: &'static [&'static str],
    pub(super) types: &'static [(&'static str, MappedKind)],
    pub(super) other: Option<MappedKind>,
    pub(super) name: &'static [&'static str],
    pub(super) path: &'static [&'static str],
    pub(super) timestamp: &'static [&'static str],
    pub(super) no_offset: NoOffset,
    pub(super) event_id: &'static [&'static str],
    pub(super) source: &'static [&'static str],
    pub(super) source_url: &'static [&'static str],
    pub(super) props: &'static [&'static str],
    pub(super) scroll_depth: &'static [&'static str],
    pub(super) amount: &'static [&'static str],
    pub(super) currency: &'static [&'static str],
    pub(super) historical: &'static [&'static str],
    pub(super) oddity: Oddity,
}

/// A table without places.
pub(super) const EMPTY: FormatTable = FormatTable {
    site_id: &[],
    site_url: &[],
    visitor_id: &[],
    kind: &[],
    types: &[],
    other: None,
    name: &[],
    path: &[],
    timestamp: &[],
    no_offset: NoOffset::IsUtc,
    event_id: &[],
    source: &[],
    source_url: &[],
    props: &[],
    scroll_depth: &[],
    amount: &[],
    currency: &[],
    historical: &[],
    oddity: Oddity::None,
};

/// Umami with `KAFKA_URL`: the `event` topic. Event types 3 and 4 are links and pixels, whose ids
/// stand in the place of the site's; 5 is a measurement of performance.
pub(super) const UMAMI: FormatTable = FormatTable {
    site_id: &["/website_id"],
    visitor_id: &["/session_id"],
    kind: &["/event_type"],
    types: &[
        ("1", MappedKind::Event(Pageview)),
        ("2", MappedKind::Event(Custom)),
        ("3", Presence),
        ("4", Presence),
        ("5", Presence),
    ],
    name: &["/event_name"],
    path: &["/url_path"],
    timestamp: &["/created_at"],
    event_id: &["/event_id"],
    source: &["/utm_source", "/referrer_domain"],
    ..EMPTY
};

/// Plausible's table `events_v2` as ClickHouse writes it in JSONEachRow.
pub(super) const PLAUSIBLE: FormatTable = FormatTable {
    site_id: &["/site_id"],
    visitor_id: &["/session_id", "/user_id"],
    kind: &["/name"],
    types: &[
        ("pageview", MappedKind::Event(Pageview)),
        ("engagement", Presence),
    ],
    other: Some(MappedKind::Event(Custom)),
    name: &["/name"],
    path: &["/pathname"],
    timestamp: &["/timestamp"],
    source: &["/referrer_source"],
    props: &["/props"],
    scroll_depth: &["/scroll_depth"],
    amount: &["/revenue_amount", "/revenue_source_amount"],
    currency: &["/revenue_currency", "/revenue_source_currency"],
    oddity: Oddity::Plausible,
    ..EMPTY
};

/// PostHog's topic `clickhouse_events_json`.
pub(super) const POSTHOG: FormatTable = FormatTable {
    site_id: &["/team_id"],
    visitor_id: &["/person_id", "/distinct_id"],
    kind: &["/event"],
    types: &[
        ("$pageview", MappedKind::Event(Pageview)),
        ("$pageleave", Presence),
    ],
    other: Some(MappedKind::Event(Custom)),
    name: &["/event"],
    path: &["/properties/$pathname", "/properties/$current_url"],
    timestamp: &["/timestamp"],
    event_id: &["/uuid"],
    source: &["/properties/$referring_domain"],
    props: &["/properties"],
    historical: &["/historical_migration"],
    oddity: Oddity::Posthog,
    ..EMPTY
};

/// Calls of Segment's form.
pub(super) const SEGMENT: FormatTable = FormatTable {
    site_id: &["/writeKey", "/context/page/host"],
    site_url: &["/context/page/url"],
    visitor_id: &["/anonymousId", "/userId"],
    kind: &["/type"],
    types: &[
        ("page", MappedKind::Event(Pageview)),
        ("track", MappedKind::Event(Custom)),
        ("identify", Ignored),
        ("group", Ignored),
        ("alias", Ignored),
    ],
    name: &["/event"],
    path: &["/context/page/path", "/properties/path", "/context/page/url"],
    timestamp: &["/originalTimestamp", "/timestamp"],
    event_id: &["/messageId"],
    source_url: &["/context/page/referrer"],
    props: &["/properties"],
    amount: &["/properties/revenue"],
    currency: &["/properties/currency"],
    oddity: Oddity::Segment,
    ..EMPTY
};
