//! What one record means to Bellwether: how it is read and what it would count as. Pure.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::sample::RawRecord;
use crate::detect::engine::event_time::{SourceClock, event_time};
use crate::detect::redact::redact;
use crate::detect::site::goals::GoalIndex;
use crate::domain::event::{Event, EventKind};
use crate::domain::trigger::NameFilter;
use crate::ingest::formats::{self, RecordFormat};
use crate::kafka::murmur2;
use crate::record::known::{KnownSite, KnownWebhook};

/// How a source is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) format: RecordFormat,
    pub(super) clock: SourceClock,
    /// How many the topic has.
    pub(super) partitions: i32,
    /// When it is looked at, milliseconds since the Unix epoch.
    pub(super) now_ms: i64,
    /// Live events this old are not told.
    pub(super) stale_after_ms: i64,
}

/// What is known of the sites that were seen. `None` where Postgres could not be asked.
#[derive(Debug, Default)]
pub(super) struct Sites {
    by_id: HashMap<String, Arc<Known>>,
    by_alias: HashMap<String, Arc<Known>>,
}

/// A registered site, with its goals made to be found.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) site: KnownSite,
    goals: GoalIndex,
}

impl Sites {
    pub(super) fn new(sites: Vec<KnownSite>) -> Self {
        let mut this = Self::default();
        for site in sites {
            let known = Arc::new(Known {
                goals: GoalIndex::new(site.goals.iter().cloned()),
                site,
            });
            for alias in &known.site.aliases {
                this.by_alias.insert(alias.clone(), Arc::clone(&known));
            }
            this.by_id.insert(known.site.site_id.clone(), known);
        }
        this
    }

    /// The site of this id, and whether the id is only an alias of it.
    pub(super) fn find(&self, id: &str) -> Option<(&Known, bool)> {
        let own = self.by_id.get(id).map(|known| (&**known, false));
        own.or_else(|| self.by_alias.get(id).map(|known| (&**known, true)))
    }
}

/// A record and what it means. Never says who the visitor was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Understanding {
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// When Kafka got it, milliseconds since the Unix epoch.
    pub(super) record_ms: Option<i64>,
    #[serde(flatten)]
    pub(super) read: Read,
}

/// Whether it could be read.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(super) enum Read {
    Understood(Understood),
    Rejected {
        reason: &'static str,
        field: Option<&'static str>,
        detail: String,
        site_id: Option<String>,
    },
}

/// An event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Understood {
    pub(super) site_id: String,
    #[serde(rename = "type")]
    pub(super) kind: EventKind,
    pub(super) name: Option<String>,
    /// Without what may name a person.
    pub(super) path: Option<String>,
    /// The time it counts at, milliseconds since the Unix epoch.
    pub(super) event_ms: i64,
    pub(super) key: Keyed,
    /// It lies in the partition of its site's id.
    pub(super) in_place: bool,
    pub(super) registration: Registration,
    pub(super) counts_as: Vec<String>,
    /// Its own time was replaced by the record's: it is more than a day older.
    pub(super) skewed: bool,
    /// Too old to be told.
    pub(super) stale: bool,
    /// Notifications that its webhooks would be sent.
    pub(super) notifies: usize,
    /// To count different ones; made with a key that nobody knows.
    #[serde(skip)]
    pub(super) visitor: Option<u64>,
}

/// What the record's key is to its site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Keyed {
    BySite,
    /// Not shown: it may be a visitor.
    ByOther,
    No,
}

/// Whether the event's site is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Registration {
    /// Postgres could not be asked.
    Unknown,
    No,
    Yes,
    /// Its id is an alias of this one.
    Alias(String),
}

impl Serialize for Registration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unknown => serializer.serialize_none(),
            Self::No => serializer.serialize_str("none"),
            Self::Yes => serializer.serialize_str("registered"),
            Self::Alias(site) => serializer.collect_str(&format_args!("alias of {site}")),
        }
    }
}

/// The site id in a record, if it can be read.
pub(super) fn site_of(record: &RawRecord, format: RecordFormat) -> Option<String> {
    let event = formats::read(format, &record.value).ok()?;
    Some(event.site_id.into_owned())
}

/// What a record means. `sites` is what Postgres knows, if it could be asked; `hasher` keys the visitors.
pub(super) fn understand(
    record: &RawRecord,
    reading: Reading,
    sites: Option<&Sites>,
    hasher: &RandomState,
) -> Understanding {
    let read = match formats::read(reading.format, &record.value) {
        Ok(event) => Read::Understood(understood(&event, record, reading, sites, hasher)),
        Err(reject) => Read::Rejected {
            reason: reject.reason.as_str(),
            field: reject.field,
            detail: reject.detail,
            site_id: reject.site_id,
        },
    };
    Understanding {
        partition: record.partition,
        offset: record.offset,
        record_ms: record.record_ms,
        read,
    }
}

fn understood(
    event: &Event<'_>,
    record: &RawRecord,
    reading: Reading,
    sites: Option<&Sites>,
    hasher: &RandomState,
) -> Understood {
    let record_ms = record.record_ms.unwrap_or(0);
    let time = event_time(reading.clock, event.timestamp_ms, record_ms, reading.now_ms);
    let stale =
        reading.clock == SourceClock::Live && reading.now_ms.saturating_sub(time.ms) > reading.stale_after_ms;
    let known = sites.and_then(|sites| sites.find(&event.site_id));
    let registration = match (sites, known) {
        (None, _) => Registration::Unknown,
        (Some(_), None) => Registration::No,
        (Some(_), Some((_, false))) => Registration::Yes,
        (Some(_), Some((known, true))) => Registration::Alias(known.site.site_id.clone()),
    };
    // An alias means something only to `route`, which is not what reads this topic.
    let known = known.and_then(|(known, is_alias)| (!is_alias).then_some(known));
    let (counts_as, notifies) = match &registration {
        Registration::No => (vec!["nothing: its site is not registered".to_owned()], 0),
        Registration::Alias(_) => (vec!["nothing: its site id is an alias".to_owned()], 0),
        Registration::Yes | Registration::Unknown => meaning(event, known, record_ms, stale),
    };
    let site_key = event.site_id.as_bytes();
    Understood {
        kind: event.kind,
        name: event.name.as_deref().map(str::to_owned),
        path: event.path.as_deref().map(|path| redact(path).into_owned()),
        event_ms: time.ms,
        key: match record.key.as_deref() {
            None => Keyed::No,
            Some(key) if key == site_key => Keyed::BySite,
            Some(_) => Keyed::ByOther,
        },
        in_place: murmur2::partition_of(site_key, reading.partitions) == record.partition,
        registration,
        counts_as,
        skewed: time.skewed,
        stale,
        notifies,
        visitor: event
            .visitor_id
            .as_deref()
            .map(|visitor| hasher.hash_one((&event.site_id, visitor))),
        site_id: event.site_id.clone().into_owned(),
    }
}

/// What an event counts as on its site, and how many notifications it leads to by itself.
fn meaning(event: &Event<'_>, known: Option<&Known>, record_ms: i64, stale: bool) -> (Vec<String>, usize) {
    let mut counts_as = Vec::new();
    let mut notifies = 0;
    let name = event.name.as_deref().unwrap_or_default();
    if event.visitor_id.is_some() {
        counts_as.push("a visitor".to_owned());
    }
    let mut told_by_name = false;
    if let Some(known) = known {
        let mut found = Vec::new();
        known.goals.find(event, &mut found);
        for number in found {
            let goal = known.goals.goal(number);
            if goal.active_since_ms > record_ms {
                counts_as.push(format!("(goal \"{}\", had it been there then)", goal.name));
                continue;
            }
            told_by_name |= goal.name == name;
            notifies += takers(
                known,
                record_ms,
                |webhook| &webhook.triggers.goal_completion,
                &goal.name,
            );
            counts_as.push(format!("goal \"{}\"", goal.name));
        }
    }
    match event.kind {
        EventKind::Goal if !told_by_name => {
            notifies += known.map_or(0, |known| {
                takers(
                    known,
                    record_ms,
                    |webhook| &webhook.triggers.goal_completion,
                    name,
                )
            });
            counts_as.push(format!("goal \"{name}\""));
        }
        EventKind::Custom => {
            notifies += known.map_or(0, |known| {
                takers(known, record_ms, |webhook| &webhook.triggers.custom_event, name)
            });
            counts_as.push(format!("custom event \"{name}\""));
        }
        EventKind::Error => counts_as.push("an error".to_owned()),
        EventKind::Goal | EventKind::Pageview | EventKind::Engagement => {}
    }
    if counts_as.is_empty() {
        counts_as.push("nothing: it has no visitor_id".to_owned());
    }
    if stale {
        counts_as.push("but too old to be told".to_owned());
        notifies = 0;
    }
    (counts_as, notifies)
}

fn takers(
    known: &Known,
    record_ms: i64,
    filter: impl Fn(&KnownWebhook) -> &Option<NameFilter>,
    name: &str,
) -> usize {
    known
        .site
        .webhooks
        .iter()
        .filter(|webhook| webhook.enabled && webhook.active_since.timestamp_millis() <= record_ms)
        .filter(|webhook| filter(webhook).as_ref().is_some_and(|filter| filter.takes(name)))
        .count()
}
