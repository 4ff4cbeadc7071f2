//! Choice among the records of the state topic: for each key the one that covers most.
//!
//! A member that was replaced without noticing may still write an older state after the newer one.
//! Compaction keeps the last record, so the newer one is then to be written again.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Part of a state record that every version has.
#[derive(Debug, Deserialize)]
struct Header {
    v: u32,
    #[serde(default)]
    covered: BTreeMap<String, i64>,
}

/// A state record that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LatestState {
    pub(crate) offset: i64,
    pub(crate) bytes: Vec<u8>,
    /// True if an older state was written after it.
    pub(crate) is_overwritten: bool,
    /// Version, and offsets covered of all sources together: the greatest is chosen. A state of a
    /// newer version was written by an owner that this one cannot follow.
    rank: (u32, i64),
}

/// Records of one partition of the state topic, by key.
#[derive(Debug, Default)]
pub(crate) struct LatestStates {
    by_key: BTreeMap<Vec<u8>, LatestState>,
}

impl LatestStates {
    /// Adds a record, in the order of the topic; without a value it is a tombstone. Only its bytes
    /// are kept. `end_of` gives the end of a source's partition: an offset beyond it was covered in
    /// an earlier topic of the same name, and counts for nothing. Fails on what is no state.
    pub(crate) fn add(
        &mut self,
        key: &[u8],
        offset: i64,
        value: Option<&[u8]>,
        end_of: impl Fn(&str) -> Option<i64>,
    ) -> Result<(), serde_json::Error> {
        let Some(bytes) = value else {
            self.by_key.remove(key);
            return Ok(());
        };
        let header: Header = serde_json::from_slice(bytes)?;
        let current = header.covered.iter().filter(|(source, last)| {
            let end = end_of(source).unwrap_or(i64::MAX);
            **last < end
        });
        let covered = current.fold(0_i64, |sum, (_, last)| sum.saturating_add(*last));
        let rank = (header.v, covered);
        if let Some(known) = self.by_key.get_mut(key)
            && known.rank > rank
        {
            known.is_overwritten = true;
            return Ok(());
        }
        let state = LatestState {
            offset,
            bytes: bytes.to_vec(),
            is_overwritten: false,
            rank,
        };
        self.by_key.insert(key.to_vec(), state);
        Ok(())
    }

    /// The chosen records, by key.
    pub(crate) fn into_states(self) -> impl Iterator<Item = (Vec<u8>, LatestState)> {
        self.by_key.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(source: &str, covered: i64) -> Vec<u8> {
        format!(r#"{{"v":1,"covered":{{"{source}":{covered}}},"firing":[]}}"#).into_bytes()
    }

    fn chosen(records: &[(&str, Option<Vec<u8>>)]) -> Vec<(String, Vec<u8>, bool)> {
        let mut latest = LatestStates::default();
        for (offset, (key, value)) in (0..).zip(records) {
            let end_of = |_: &str| Some(1_000);
            _ = latest.add(key.as_bytes(), offset, value.as_deref(), end_of);
        }
        let states = latest.into_states();
        states
            .map(|(key, state)| {
                let key = String::from_utf8(key).expect("text");
                (key, state.bytes, state.is_overwritten)
            })
            .collect()
    }

    #[test]
    fn the_state_that_covers_most_is_chosen() {
        let (old, new) = (state("s", 5), state("s", 7));
        assert_eq!(
            chosen(&[("a", Some(old.clone())), ("a", Some(new.clone()))]),
            [("a".to_owned(), new.clone(), false)]
        );
        assert_eq!(
            chosen(&[("a", Some(new.clone())), ("a", Some(old))]),
            [("a".to_owned(), new, true)],
            "an older one after it is to be overwritten again"
        );
    }

    #[test]
    fn of_states_that_cover_the_same_the_last_is_chosen() {
        let confirmed = br#"{"v":1,"covered":{"s":5},"firing":[],"unconfirmed":[]}"#.to_vec();
        assert_eq!(
            chosen(&[("a", Some(state("s", 5))), ("a", Some(confirmed.clone()))]),
            [("a".to_owned(), confirmed, false)]
        );
    }

    #[test]
    fn a_state_of_a_newer_version_is_never_passed_over() {
        let newer = br#"{"v":9,"any":1}"#.to_vec();
        assert_eq!(
            chosen(&[("a", Some(newer.clone())), ("a", Some(state("s", 7)))]),
            [("a".to_owned(), newer, true)]
        );
    }

    #[test]
    fn what_is_no_state_replaces_none() {
        let mut latest = LatestStates::default();
        assert!(latest.add(b"a", 0, Some(&state("s", 5)), |_| None).is_ok());
        assert!(latest.add(b"a", 1, Some(b"no state at all"), |_| None).is_err());
        assert_eq!(latest.into_states().count(), 1);
    }

    #[test]
    fn a_tombstone_removes_what_was_before_it() {
        assert_eq!(chosen(&[("a", Some(state("s", 5))), ("a", None)]), []);
    }

    #[test]
    fn a_state_of_an_earlier_topic_covers_nothing() {
        let (earlier, now) = (state("s", 5_000), state("s", 3));
        assert_eq!(
            chosen(&[("a", Some(now.clone())), ("a", Some(earlier.clone()))]),
            [("a".to_owned(), now.clone(), true)]
        );
        assert_eq!(
            chosen(&[("a", Some(earlier)), ("a", Some(now.clone()))]),
            [("a".to_owned(), now, false)]
        );
    }
}
