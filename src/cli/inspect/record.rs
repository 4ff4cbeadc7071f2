//! The meaning of one record, by the detector's own functions. Pure.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};

use serde::{Serialize, Serializer};

use super::event_part::{EventPart, part_of};
use super::fields::{GivenFields, NearMiss};
use super::sample::SampledRecord;
use super::sites::IndexedSites;
use crate::detect::engine::event_time::{
    EventTime, StaleCause, event_time, is_fresh, is_too_far_ahead, record_time, stale_cause,
    time_of_subscribers,
};
use crate::detect::redact::redact;
use crate::domain::event::{Event, EventKind, EventType, SourceClock, WrongTimeUnit};
use crate::domain::reject::{NotAnEvent, Reject, RejectReason};
use crate::domain::time::LAST_MS;
use crate::ingest::formats::RecordReader;
use crate::kafka::murmur2;

/// The settings that a source is read with, and the time.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadSettings<'s> {
    pub(super) reader: &'s RecordReader,
    /// False if the role `route` keys the records.
    pub(super) is_keyed: bool,
    pub(super) clock: SourceClock,
    /// Partitions of the topic.
    pub(super) partitions: i32,
    /// The present, milliseconds since the Unix epoch.
    pub(super) now_ms: i64,
    /// Age from which on nobody is notified of a live event.
    pub(super) stale_after_ms: i64,
}

/// A record and what it means. Never says who the visitor was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct InspectedRecord {
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// The time at which Kafka got it, milliseconds since the Unix epoch.
    pub(super) record_ms: Option<i64>,
    #[serde(flatten)]
    pub(super) meaning: Interpretation,
}

/// A record as the detector understands it, or the reason why it does not.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(super) enum Interpretation {
    Understood(UnderstoodEvent),
    Rejected(RejectedRecord),
    /// Of a type that says nothing about visitors.
    Ignored,
}

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct RejectedRecord {
    pub(super) reason: &'static str,
    pub(super) field: Option<&'static str>,
    pub(super) detail: String,
    pub(super) site_id: Option<String>,
    /// The refused value, cut; `None` if there is none or it may say who the visitor was.
    pub(super) value: Option<String>,
    pub(super) did_you_mean: Option<NearMiss>,
}

/// The record of an event that another one is a copy of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct RecordPlace {
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// The two are of different visitors: no copy was meant.
    pub(super) of_another_visitor: bool,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct UnderstoodEvent {
    pub(super) site_id: String,
    #[serde(rename = "type")]
    pub(super) kind: EventKind,
    pub(super) name: Option<String>,
    /// Without segments that may name a person.
    pub(super) path: Option<String>,
    /// The time it counts at, milliseconds since the Unix epoch.
    pub(super) event_ms: i64,
    pub(super) key: KeyKind,
    /// It lies in the partition of its site's id.
    pub(super) in_place: bool,
    pub(super) registration: Registration,
    pub(super) counts_as: Vec<String>,
    /// Its own time was replaced by the record's: it is more than a day older.
    pub(super) skewed: bool,
    /// Unit of its own time, if that is not milliseconds; the record's counts then.
    pub(super) wrong_unit: Option<WrongTimeUnit>,
    /// A back-dated import, which notifies nobody.
    pub(super) historical: bool,
    /// Nobody is notified of it: it is too old.
    pub(super) stale: bool,
    /// The time that makes it too old.
    pub(super) stale_by: Option<StaleCause>,
    /// The webhooks or goals that wait for such events are younger than it.
    pub(super) too_early: bool,
    /// The event that it is a second copy of, by its id and its own time: both are notified once.
    pub(super) copy_of: Option<RecordPlace>,
    /// Notifications that its webhooks would be sent.
    pub(super) notifies: usize,
    /// Fields that were passed over since they are misspelt.
    pub(super) near_misses: Vec<NearMiss>,
    /// Hash that tells visitors apart, with a key that nobody knows.
    #[serde(skip)]
    pub(super) visitor: Option<u64>,
    /// Hash of what second copies of it have in common.
    #[serde(skip)]
    pub(super) identity: Option<u64>,
    /// Types and names of the single events that it is, which webhooks may be notified of.
    #[serde(skip)]
    pub(super) subjects: Vec<(EventType, String)>,
    /// The time at which its webhooks must have existed, milliseconds since the Unix epoch.
    #[serde(skip)]
    pub(super) subscribers_ms: i64,
}

impl UnderstoodEvent {
    /// True if nobody is notified of it, though its site's webhooks wait for such events.
    pub(super) fn is_withheld(&self) -> bool {
        self.stale || self.historical || self.too_early || self.copy_of.is_some()
    }
}

/// The record's key, compared with its site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KeyKind {
    BySite,
    /// Not shown: it may be a visitor.
    ByOther,
    No,
}

/// The state of an event's site in Postgres.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Registration {
    /// Postgres could not be asked.
    Unknown,
    No,
    Yes,
    /// The id is an alias of this one.
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
pub(super) fn site_of(record: &SampledRecord, reader: &RecordReader) -> Option<String> {
    let event = reader.read(&record.value, &record.headers()).ok()?;
    Some(event.site_id.into_owned())
}

/// The meanings of records, given in the order of their offsets. `sites` are known unless Postgres
/// could not be asked; `hasher` keys the visitors.
pub(super) fn inspect(
    records: &[SampledRecord],
    settings: ReadSettings<'_>,
    sites: Option<&IndexedSites>,
    hasher: &RandomState,
) -> Vec<InspectedRecord> {
    // Time of the latest event of a log, by partition.
    let mut latest_ms = BTreeMap::new();
    let inspected = records.iter().map(|record| {
        let latest_ms = latest_ms.entry(record.partition).or_insert(None);
        inspect_record(record, settings, sites, hasher, latest_ms)
    });
    inspected.collect()
}

fn inspect_record(
    record: &SampledRecord,
    settings: ReadSettings<'_>,
    sites: Option<&IndexedSites>,
    hasher: &RandomState,
    latest_ms: &mut Option<i64>,
) -> InspectedRecord {
    let headers = record.headers();
    let read = match record.record_ms.filter(|ms| *ms > LAST_MS) {
        Some(ms) => Err(Reject::overlong_time(ms).into()),
        None => settings.reader.read(&record.value, &headers),
    };
    let read = read.and_then(|event| check_log_time(event, record, settings, latest_ms));
    let meaning = match read {
        Ok(event) => Interpretation::Understood(understood(&event, record, settings, sites, hasher)),
        Err(NotAnEvent::Rejected(reject) | NotAnEvent::RejectedBefore(reject, _)) => {
            let fields = settings
                .reader
                .is_native()
                .then(|| GivenFields::read(&record.value));
            Interpretation::Rejected(rejected(reject, fields.flatten().as_ref()))
        }
        Err(newer @ NotAnEvent::Newer { .. }) => {
            let reject = Reject {
                reason: RejectReason::BadField,
                field: None,
                detail: format!("{newer}: it is held back until the upgrade is finished"),
                site_id: None,
            };
            Interpretation::Rejected(rejected(reject, None))
        }
        Err(NotAnEvent::Ignored) => Interpretation::Ignored,
    };
    InspectedRecord {
        partition: record.partition,
        offset: record.offset,
        record_ms: record.record_ms,
        meaning,
    }
}

/// Refuses an event of a log that lies too far after the latest before it, as the detector does.
/// Events that `route` keys lie in other partitions then.
fn check_log_time<'e>(
    event: Event<'e>,
    record: &SampledRecord,
    settings: ReadSettings<'_>,
    latest_ms: &mut Option<i64>,
) -> Result<Event<'e>, NotAnEvent> {
    if settings.clock != SourceClock::Log || !settings.is_keyed {
        return Ok(event);
    }
    let at_ms = event.timestamp_ms.or(record.record_ms).unwrap_or(settings.now_ms);
    if latest_ms.is_some_and(|latest_ms| is_too_far_ahead(at_ms, latest_ms)) {
        let reject = Reject {
            reason: RejectReason::BadField,
            field: Some("timestamp"),
            detail: "`timestamp` is more than 400 days after the latest of its partition".to_owned(),
            site_id: Some(event.site_id.into_owned()),
        };
        return Err(reject.into());
    }
    *latest_ms = (*latest_ms).max(Some(at_ms));
    Ok(event)
}

fn rejected(reject: Reject, fields: Option<&GivenFields>) -> RejectedRecord {
    let field = reject.field;
    let did_you_mean = match (reject.reason, field) {
        (RejectReason::MissingField, Some(field)) => fields.and_then(|fields| fields.near_miss_of(field)),
        (RejectReason::BadField, Some("type")) => fields.and_then(GivenFields::near_miss_of_type),
        _ => None,
    };
    RejectedRecord {
        value: field.and_then(|field| fields?.shown_value(field)),
        did_you_mean,
        reason: reject.reason.as_str(),
        field,
        detail: reject.detail,
        site_id: reject.site_id,
    }
}

fn understood(
    event: &Event<'_>,
    record: &SampledRecord,
    settings: ReadSettings<'_>,
    sites: Option<&IndexedSites>,
    hasher: &RandomState,
) -> UnderstoodEvent {
    let ReadSettings { clock, now_ms, .. } = settings;
    let time = time_of(event, record, clock, now_ms);
    let stale_by = stale_by(event, record, time.ms, settings);
    let written_ms = record_time(record.record_ms, event.timestamp_ms, now_ms);
    let subscribers_ms = time_of_subscribers(clock, written_ms, now_ms);
    let known = sites.and_then(|sites| sites.find(&event.site_id));
    let registration = match known {
        None if sites.is_none() => Registration::Unknown,
        None => Registration::No,
        Some((_, false)) => Registration::Yes,
        Some((known, true)) => Registration::Alias(known.site.site_id.clone()),
    };
    // An alias means something only to `route`.
    let known = known.and_then(|(known, is_alias)| (!is_alias || !settings.is_keyed).then_some(known));
    let part = match &registration {
        Registration::No => EventPart::none("its site is not registered"),
        Registration::Alias(_) if settings.is_keyed => EventPart::none("its site id is an alias"),
        _ => part_of(event, known, subscribers_ms, stale_by.is_some()),
    };
    let (site_key, path) = (event.site_id.as_bytes(), event.path.as_deref());
    let visitor = event.visitor_id.as_deref();
    UnderstoodEvent {
        kind: event.kind,
        name: event.name.as_deref().map(str::to_owned),
        path: path.map(|path| redact(path).into_owned()),
        event_ms: time.ms,
        key: match record.key.as_deref() {
            None => KeyKind::No,
            Some(key) if key == site_key => KeyKind::BySite,
            Some(_) => KeyKind::ByOther,
        },
        in_place: murmur2::partition_of(site_key, settings.partitions) == record.partition,
        registration,
        counts_as: part.counts_as,
        skewed: time.skewed,
        wrong_unit: event.wrong_unit,
        historical: event.historical,
        stale: stale_by.is_some(),
        stale_by,
        too_early: part.too_early,
        copy_of: None,
        notifies: part.notifies,
        near_misses: match settings.reader.is_native() {
            true => GivenFields::read(&record.value).map_or_else(Vec::new, |fields| fields.near_misses()),
            false => Vec::new(),
        },
        visitor: visitor.map(|visitor| hasher.hash_one((&event.site_id, visitor))),
        identity: identity_of(event, hasher),
        subjects: part.subjects,
        subscribers_ms,
        site_id: event.site_id.clone().into_owned(),
    }
}

/// Hash of what the second copies of an event have in common. One without an id or a time of its
/// own has none.
fn identity_of(event: &Event<'_>, hasher: &RandomState) -> Option<u64> {
    let known_by = event.event_id.as_deref().zip(event.timestamp_ms)?;
    Some(hasher.hash_one((&event.site_id, known_by)))
}

/// Time of an event as the detector takes it.
fn time_of(event: &Event<'_>, record: &SampledRecord, clock: SourceClock, now_ms: i64) -> EventTime {
    let record_ms = record.record_ms.unwrap_or(now_ms);
    // A record without a time says nothing about how old its event is, and a back-dated one is of
    // any age.
    let has_any_age = record.record_ms.is_none() || event.historical;
    match event.timestamp_ms {
        Some(own) if clock == SourceClock::Live && has_any_age => EventTime {
            ms: own.min(record_ms).min(now_ms),
            skewed: false,
        },
        own => event_time(clock, own, record_ms, now_ms),
    }
}

/// The time that makes an event too old; `None` if it is not, or is back-dated. One that was of the
/// present when its record was written is only looked at late.
fn stale_by(
    event: &Event<'_>,
    record: &SampledRecord,
    event_ms: i64,
    settings: ReadSettings<'_>,
) -> Option<StaleCause> {
    let ReadSettings { clock, now_ms, .. } = settings;
    let stale_after_ms = settings.stale_after_ms;
    if event.historical || is_fresh(clock, event_ms, now_ms, stale_after_ms) {
        return None;
    }
    let came_fresh = record
        .record_ms
        .is_some_and(|at_ms| is_fresh(clock, event_ms, at_ms, stale_after_ms));
    match stale_cause(event_ms, record.record_ms, now_ms, stale_after_ms) {
        StaleCause::OwnTime if came_fresh => Some(StaleCause::RecordTime),
        cause => Some(cause),
    }
}
