//! The records of a site's long-lived state on the state topic: one JSON object a site, replaced
//! whole; in several parts if it is large.
//!
//! ```json
//! {"v":2,"site":"example.com","registered":1770000000000,"clock":1772020800,
//!  "covered":{"analytics.events":4711},
//!  "goes_by":"live","first_event":1771000000,
//!  "triggers":[{"condition":{"event":"visitor_spike","threshold":500,"window_seconds":300},
//!               "episode":{"id":"…","started_at":1772020791,"peak":512,
//!                          "notice":{"decided":{"at_ms":1772020791240,"at":1772020791}}},
//!               "subscribers":[{"webhook":"wh_…","notified":true,"reminders":0}]}],
//!  "unconfirmed":[{"episode":"…","notification":"evt_…","event":"visitor_spike",
//!                  "webhooks":["wh_…"],"created_at_ms":1772020791240,"body":{…}}],
//!  "rows":[{"id":"…","event":"visitor_spike","trigger":{…},"webhooks":["wh_…"],
//!           "started_at":1772020791,"peak":512,"threshold":500,"notification":"evt_…"}],
//!  "hour":{"at":492228,"events":4120,"goals":{"Signup":3}},"goals":{"goal_…":"Signup"},
//!  "beginning":{"offsets":{"analytics.events":4000},"live_from":1771000000,"log_from":0}}
//! ```
//!
//! A trigger of which nothing is stored is armed. A record without one still matters for its
//! `covered`: up to there nothing is decided again. What only a newer version knows is passed on.

/// One trigger.
pub(crate) mod trigger;
/// One row of the history of alerts.
pub(crate) mod row;
/// One notification that is not confirmed.
mod decision;
/// Counts of an hour.
pub(crate) mod hour;
/// The beginning of a site.
pub(crate) mod beginning;

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::detect::notification::Decision;
use crate::domain::event::EventType;
use crate::domain::id::{GoalId, WebhookId};
use crate::domain::site::SiteId;
use beginning::StoredBeginning;
pub(crate) use decision::StoredDecision;
use hour::StoredHour;
use trigger::{AnyTrigger, FirstTrigger};

/// Version that is written, and the newest that is read.
const VERSION: u32 = 2;

/// Largest record, in bytes; below the 1 MB that brokers take by default.
const MAX_BYTES: usize = 900_000;

/// Character between a site's id, which cannot hold it, and the number of a part in a record's key.
const PART_SEPARATOR: char = '\0';

/// Reason why a state record cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// Written by a newer version: it must be kept and not be overwritten.
    #[error("the state of a site has version {found}, this program reads up to {VERSION}")]
    Newer { found: u32 },
    /// Not a state record.
    #[error("not a state record: {0}")]
    Unreadable(#[from] serde_json::Error),
}

/// A record of a site's state, to be written and acknowledged before the decisions in it are
/// published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateRecord {
    pub(crate) site_id: SiteId,
    /// Number of the part; 0 for the first, or the whole.
    pub(crate) part: u32,
    /// `None` is a tombstone: the site is deleted, or its state has fewer parts.
    pub(crate) bytes: Option<Vec<u8>>,
    /// Notifications of episodes that are in the site's state for the first time. They come with
    /// its last record.
    pub(crate) decisions: Vec<Decision>,
}

impl StateRecord {
    /// Makes a record that removes a part.
    pub(crate) fn tombstone(site_id: SiteId, part: u32) -> Self {
        Self {
            site_id,
            part,
            bytes: None,
            decisions: Vec::new(),
        }
    }

    /// The record's key.
    pub(crate) fn key(&self) -> String {
        match self.part {
            0 => self.site_id.to_string(),
            part => format!("{}{PART_SEPARATOR}{part}", self.site_id),
        }
    }
}

/// Splits a record's key into the site's id and the number of the part.
pub(crate) fn split_key(key: &str) -> (&str, u32) {
    match key.rsplit_once(PART_SEPARATOR) {
        Some((site_id, part)) => (site_id, part.parse().unwrap_or(0)),
        None => (key, 0),
    }
}

/// The content of a state record.
#[derive(Debug)]
pub(crate) struct StoredState {
    pub(crate) site: SiteId,
    /// When the site was registered, in milliseconds since the Unix epoch; absent in what earlier
    /// builds wrote.
    pub(crate) registered: Option<i64>,
    /// Number of parts of the state.
    pub(crate) parts: u32,
    /// ⌊τ⌋ at the time of writing, in seconds since the Unix epoch.
    pub(crate) clock: u32,
    /// For each source topic, the offset of the last record that this state accounts for.
    pub(crate) covered: BTreeMap<String, i64>,
    /// The clock by which the site goes; absent in what earlier builds wrote.
    pub(crate) goes_by: Option<StoredClock>,
    /// Second of the site's earliest event.
    pub(crate) first_event: Option<u32>,
    /// Longest window of the table of visitors, in seconds; absent in what earlier builds wrote.
    pub(crate) window_seconds: Option<u32>,
    /// Second from which on the table of visitors lacks nobody.
    pub(crate) kept_from: Option<u32>,
    /// The latest visitors.
    pub(crate) latest: Option<String>,
    pub(crate) every: Vec<StoredEvery>,
    /// Configured goals whose names triggers and counters go by, with the names of then.
    pub(crate) goals: BTreeMap<GoalId, String>,
    pub(crate) triggers: Vec<AnyTrigger>,
    /// Each a [`StoredDecision`], if this build knows it.
    pub(crate) unconfirmed: Vec<Box<RawValue>>,
    /// Unsaved rows of episodes, each a [`row::StoredRow`], if this build knows it.
    pub(crate) rows: Vec<Box<RawValue>>,
    /// Counts of the hour that goes on; absent if there are none.
    pub(crate) hour: Option<StoredHour>,
    /// The beginning, if the partition was read before the site was registered.
    pub(crate) beginning: Option<StoredBeginning>,
    /// Fields that only a newer version knows.
    pub(crate) foreign: BTreeMap<String, Box<RawValue>>,
}

/// The clock by which a site goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoredClock {
    /// It had an event of a live source: the wall clock moves it while it is silent.
    Live,
    /// All its events came from logs.
    Log,
    /// It never had an event: the wall clock moves it until the first event decides.
    #[serde(rename = "untold")]
    Undecided,
}

/// Events counted since the last k-th, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredEvery {
    pub(crate) webhook: WebhookId,
    pub(crate) event: EventType,
    pub(crate) every: u32,
    pub(crate) counts: BTreeMap<String, u32>,
}

impl StoredState {
    pub(crate) fn new(site: SiteId, clock: u32, covered: BTreeMap<String, i64>) -> Self {
        Self {
            site,
            registered: None,
            parts: 1,
            clock,
            covered,
            goes_by: None,
            first_event: None,
            window_seconds: None,
            kept_from: None,
            latest: None,
            every: Vec::new(),
            goals: BTreeMap::new(),
            triggers: Vec::new(),
            unconfirmed: Vec::new(),
            rows: Vec::new(),
            hour: None,
            beginning: None,
            foreign: BTreeMap::new(),
        }
    }

    /// Writes the state as one record, or as several if it is large: triggers, notifications
    /// and rows are spread over them.
    pub(crate) fn to_parts(&self) -> Vec<Vec<u8>> {
        let mut parts = vec![Part::default()];
        let triggers = self.triggers.iter().map(AnyTrigger::write);
        for value in triggers {
            Part::with_room(&mut parts, value.get().len())
                .triggers
                .push(value);
        }
        for value in self.unconfirmed.iter().cloned() {
            Part::with_room(&mut parts, value.get().len())
                .unconfirmed
                .push(value);
        }
        for value in self.rows.iter().cloned() {
            Part::with_room(&mut parts, value.get().len()).rows.push(value);
        }
        if let Some(hour) = self.hour.as_ref().map(raw) {
            let bytes = hour.get().len();
            Part::with_room(&mut parts, bytes).hour = Some(hour);
        }
        let count = parts.len();
        let mut written = Vec::with_capacity(count);
        for (number, part) in parts.into_iter().enumerate() {
            let mut map: BTreeMap<&str, Box<RawValue>> = BTreeMap::from([
                ("v", raw(&VERSION)),
                ("site", raw(&self.site)),
                ("clock", raw(&self.clock)),
                ("covered", raw(&self.covered)),
                ("triggers", raw(&part.triggers)),
                ("unconfirmed", raw(&part.unconfirmed)),
            ]);
            if !part.rows.is_empty() {
                map.insert("rows", raw(&part.rows));
            }
            map.extend(part.hour.map(|hour| ("hour", hour)));
            map.extend(self.registered.map(|ms| ("registered", raw(&ms))));
            if count > 1 {
                map.insert("parts", raw(&count));
            }
            if number == 0 {
                self.write_head(&mut map);
            }
            written.push(serde_json::to_vec(&map).expect("plain data with string keys always becomes JSON"));
        }
        written
    }

    fn write_head<'a>(&'a self, map: &mut BTreeMap<&'a str, Box<RawValue>>) {
        map.extend(self.goes_by.map(|clock| ("goes_by", raw(&clock))));
        map.extend(self.beginning.as_ref().map(|one| ("beginning", raw(one))));
        map.extend(self.first_event.map(|second| ("first_event", raw(&second))));
        map.extend(
            self.window_seconds
                .map(|seconds| ("window_seconds", raw(&seconds))),
        );
        map.extend(self.kept_from.map(|second| ("kept_from", raw(&second))));
        map.extend(self.latest.as_ref().map(|text| ("latest", raw(text))));
        if !self.every.is_empty() {
            map.insert("every", raw(&self.every));
        }
        if !self.goals.is_empty() {
            map.insert("goals", raw(&self.goals));
        }
        for (name, value) in &self.foreign {
            map.entry(name).or_insert_with(|| value.clone());
        }
    }

    /// Reads a record; total over every byte string.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        // The version is read first: the rest of a newer record may have any form.
        let Version { v } = serde_json::from_slice(bytes)?;
        if v > VERSION {
            return Err(StateError::Newer { found: v });
        }
        let mut map: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(bytes)?;
        map.remove("v");
        let site = take(&mut map, "site")?;
        let clock = take(&mut map, "clock")?;
        let mut state = Self::new(site, clock, take(&mut map, "covered")?);
        state.unconfirmed = take(&mut map, "unconfirmed")?;
        if v == 1 {
            let firing: Vec<FirstTrigger> = take(&mut map, "firing")?;
            let triggers = firing.into_iter().map(|first| AnyTrigger::Known(first.into()));
            state.triggers = triggers.collect();
            return Ok(state);
        }
        let triggers: Vec<Box<RawValue>> = take(&mut map, "triggers")?;
        state.triggers = triggers.into_iter().map(AnyTrigger::read).collect();
        state.registered = take_optional(&mut map, "registered")?;
        state.parts = take_optional(&mut map, "parts")?.unwrap_or(1);
        state.rows = take_optional(&mut map, "rows")?.unwrap_or_default();
        state.first_event = take_optional(&mut map, "first_event")?;
        state.window_seconds = take_optional(&mut map, "window_seconds")?;
        state.kept_from = take_optional(&mut map, "kept_from")?;
        state.latest = take_optional(&mut map, "latest")?;
        state.every = take_known(&mut map, "every").unwrap_or_default();
        state.goals = take_known(&mut map, "goals").unwrap_or_default();
        state.hour = take_known(&mut map, "hour");
        state.goes_by = take_known(&mut map, "goes_by");
        state.beginning = take_known(&mut map, "beginning");
        state.foreign = map;
        Ok(state)
    }

    /// Adds a part of the same state to this one. Of a part that was written earlier, because its
    /// owner was killed between two, the records after it are to be judged again.
    pub(crate) fn add_part(&mut self, part: Self) {
        self.covered.retain(|topic, _| part.covered.contains_key(topic));
        for (topic, last) in &mut self.covered {
            *last = (*last).min(part.covered[topic]);
        }
        self.triggers.extend(part.triggers);
        self.unconfirmed.extend(part.unconfirmed);
        self.rows.extend(part.rows);
        self.hour = self.hour.take().or(part.hour);
    }

    /// True if nothing is known of the site but its beginning: every other state says by which
    /// clock the site goes.
    pub(crate) fn is_only_beginning(&self) -> bool {
        self.beginning.is_some() && self.goes_by.is_none()
    }

    /// True if it holds something that only a newer version knows.
    pub(crate) fn has_foreign(&self) -> bool {
        !self.foreign.is_empty()
            || self.triggers.iter().any(AnyTrigger::is_foreign)
            || self
                .unconfirmed
                .iter()
                .any(|one| StoredDecision::read(one).is_none())
    }
}

/// The lists of one record.
#[derive(Debug, Default)]
struct Part {
    bytes: usize,
    triggers: Vec<Box<RawValue>>,
    unconfirmed: Vec<Box<RawValue>>,
    rows: Vec<Box<RawValue>>,
    hour: Option<Box<RawValue>>,
}

impl Part {
    /// The last part, or a new one if that has no room for so many bytes.
    fn with_room(parts: &mut Vec<Self>, bytes: usize) -> &mut Self {
        // The first part has the rest of the state as well.
        const MAX_LIST_BYTES: usize = MAX_BYTES - 200_000;
        let is_full = parts
            .last()
            .is_none_or(|part| part.bytes > 0 && part.bytes + bytes > MAX_LIST_BYTES);
        if is_full {
            parts.push(Self::default());
        }
        let place = parts.len() - 1;
        parts[place].bytes += bytes;
        &mut parts[place]
    }
}

/// A value as JSON.
fn raw(value: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("plain data with string keys always becomes JSON")
}

fn take<T: DeserializeOwned>(
    map: &mut BTreeMap<String, Box<RawValue>>,
    name: &'static str,
) -> Result<T, serde_json::Error> {
    take_optional(map, name)?.ok_or_else(|| serde::de::Error::missing_field(name))
}

/// Takes a field that is in a form known here. One in a form that only a newer version knows stays,
/// to be passed on.
fn take_known<T: DeserializeOwned>(map: &mut BTreeMap<String, Box<RawValue>>, name: &str) -> Option<T> {
    let value = serde_json::from_str(map.get(name)?.get()).ok()?;
    map.remove(name);
    Some(value)
}

fn take_optional<T: DeserializeOwned>(
    map: &mut BTreeMap<String, Box<RawValue>>,
    name: &str,
) -> Result<Option<T>, serde_json::Error> {
    map.remove(name)
        .map(|value| serde_json::from_str(value.get()))
        .transpose()
}

#[cfg(test)]
mod tests;
