//! Typed ids: UUIDs inside, TypeIDs (prefix `_` 26 base-32 characters) in JSON and URLs.
//!
//! Webhooks and goals are UUIDv7. Notifications and deliveries are UUIDv8 whose bits are a function
//! of the facts that name them, so that doing the same thing twice gives the same id.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use type_safe_id::{StaticType, TypeSafeId};
use uuid::Uuid;

use super::words::words;

/// A text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the id of {noun} ({prefix}_ and 26 letters and digits)")]
pub struct InvalidId {
    text: String,
    noun: &'static str,
    prefix: &'static str,
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident, $tag:ident, $prefix:literal, $noun:literal) => {
        #[derive(Default)]
        struct $tag;

        impl StaticType for $tag {
            const TYPE: &'static str = $prefix;
        }

        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// The id with these bits.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The bits, as Postgres holds them.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                TypeSafeId::<$tag>::from_uuid(self.0).fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                TypeSafeId::<$tag>::from_str(text).map(|id| Self(id.uuid())).map_err(|_| InvalidId {
                    text: text.chars().take(64).collect(),
                    noun: $noun,
                    prefix: $prefix,
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

typed_id!(
    /// A webhook, `wh_…`, UUIDv7.
    WebhookId, WebhookTag, "wh", "a webhook"
);
typed_id!(
    /// A goal, `goal_…`, UUIDv7.
    GoalId, GoalTag, "goal", "a goal"
);
typed_id!(
    /// A token of the API, `tok_…`, UUIDv7.
    TokenId, TokenTag, "tok", "a token"
);
typed_id!(
    /// A piece of long work, `job_…`, UUIDv7.
    JobId, JobTag, "job", "a job"
);
typed_id!(
    /// An episode in the history of alerts, `alr_…`.
    AlertId, AlertTag, "alr", "an alert"
);
typed_id!(
    /// A notification, `evt_…`, UUIDv8 by hash.
    NotificationId, NotificationTag, "evt", "a notification"
);
typed_id!(
    /// A delivery, `dlv_…`, UUIDv8 by hash.
    DeliveryId, DeliveryTag, "dlv", "a delivery"
);
words! {
    /// Kind of a notification's cause; a part of its id.
    pub enum NotificationKind {
        /// One for each matching event.
        Each = "each",
        /// An episode began.
        Start = "start",
        /// An episode still lasts.
        Reminder = "reminder",
        /// An episode ended.
        Resolved = "resolved",
        /// A count of events was reached.
        Count = "count",
        /// A minute's notifications in one.
        Summary = "summary",
        /// The health of a webhook changed.
        Health = "health",
    }
}

impl WebhookId {
    /// A new id for a webhook made at `now_ms` with 80 bits of chance.
    pub fn new_v7(now_ms: i64, random: [u8; 10]) -> Self {
        Self(new_v7(now_ms, random))
    }
}

impl GoalId {
    /// A new id for a goal made at `now_ms` with 80 bits of chance.
    pub fn new_v7(now_ms: i64, random: [u8; 10]) -> Self {
        Self(new_v7(now_ms, random))
    }
}

impl TokenId {
    /// A new id for a token made at `now_ms` with 80 bits of chance.
    pub(crate) fn new_v7(now_ms: i64, random: [u8; 10]) -> Self {
        Self(new_v7(now_ms, random))
    }
}

impl JobId {
    /// A new id for a job begun at `now_ms` with 80 bits of chance.
    pub(crate) fn new_v7(now_ms: i64, random: [u8; 10]) -> Self {
        Self(new_v7(now_ms, random))
    }
}

impl JobId {
    /// Milliseconds since the Unix epoch at which the job was begun.
    pub(crate) fn millis(self) -> i64 {
        millis_of(self.0)
    }
}

impl NotificationId {
    /// Milliseconds since the Unix epoch in the first 48 bits.
    pub(crate) fn millis(self) -> i64 {
        millis_of(self.0)
    }

    /// The id of the notification that these facts name.
    ///
    /// `at_ms` is the time of the source record (goals, custom events) or the stored time of the
    /// decision (episodes). `keys` are the source event id and the goal's row id, or the episode's
    /// id and the reminder's number.
    pub fn derive(
        at_ms: i64,
        site_id: &str,
        event_type: &str,
        kind: NotificationKind,
        keys: &[&[u8]],
    ) -> Self {
        let mut facts = vec![
            b"notification".as_slice(),
            site_id.as_bytes(),
            event_type.as_bytes(),
            kind.as_str().as_bytes(),
        ];
        facts.extend_from_slice(keys);
        Self(derive_v8(at_ms, &facts))
    }
}

impl DeliveryId {
    /// The id of the delivery of `notification` to `webhook`; it shares the notification's
    /// milliseconds.
    pub fn derive(notification: NotificationId, webhook: WebhookId) -> Self {
        let facts = [
            b"delivery".as_slice(),
            notification.0.as_bytes(),
            webhook.0.as_bytes(),
        ];
        Self(derive_v8(notification.millis(), &facts))
    }
}

impl DeliveryId {
    /// The id of the delivery that sends `notification` to `webhook` again, because a job or a
    /// request of this id asked for it at `asked_ms`: it lies in that day's partition.
    pub(crate) fn derive_resend(
        asked_ms: i64,
        asked_by: Uuid,
        notification: NotificationId,
        webhook: WebhookId,
    ) -> Self {
        let facts = [
            b"resend".as_slice(),
            asked_by.as_bytes(),
            notification.0.as_bytes(),
            webhook.0.as_bytes(),
        ];
        Self(derive_v8(asked_ms, &facts))
    }
}

/// An id for an episode, from the facts of its decision. It is stored with the trigger's state and
/// never decided twice.
pub(crate) fn derive_episode(at_ms: i64, facts: &[&[u8]]) -> Uuid {
    derive_v8(at_ms, facts)
}

/// The lowest UUID whose first 48 bits are `ms`: the bound of a partition or of a page.
pub fn uuid_floor(ms: i64) -> Uuid {
    Uuid::from_u128(u128::from(clamp_ms(ms)) << 80)
}

fn clamp_ms(ms: i64) -> u64 {
    ms.clamp(0, (1 << 48) - 1).unsigned_abs()
}

fn millis_of(uuid: Uuid) -> i64 {
    // 48 bits always fit.
    (uuid.as_u128() >> 80) as i64
}

fn new_v7(now_ms: i64, random: [u8; 10]) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(clamp_ms(now_ms), &random).into_uuid()
}

/// 48 bits of milliseconds, then SHA-256 over the facts, each preceded by its length so that no two
/// lists of facts read alike. Version and variant bits as RFC 9562 §5.8 asks.
fn derive_v8(at_ms: i64, facts: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    for fact in facts {
        hash.update((fact.len() as u64).to_be_bytes());
        hash.update(fact);
    }
    let digest = hash.finalize();
    let mut bytes = [0_u8; 16];
    bytes[..6].copy_from_slice(&clamp_ms(at_ms).to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&digest[..10]);
    Uuid::new_v8(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_facts_give_the_same_id_and_other_facts_another() {
        let id = |site: &str, key: &[u8]| {
            NotificationId::derive(
                1_700_000_000_000,
                site,
                "goal_completion",
                NotificationKind::Each,
                &[key],
            )
        };
        assert_eq!(id("example.com", b"1"), id("example.com", b"1"));
        assert_ne!(id("example.com", b"1"), id("example.com", b"2"));
        assert_ne!(id("example.com", b"1"), id("example.org", b"1"));
    }

    #[test]
    fn facts_do_not_run_into_each_other() {
        assert_ne!(derive_v8(0, &[b"ab", b"c"]), derive_v8(0, &[b"a", b"bc"]));
    }

    #[test]
    fn a_derived_id_is_a_version_8_uuid_that_starts_with_its_time() {
        let id = NotificationId::derive(
            1_771_970_400_123,
            "s",
            "visitor_spike",
            NotificationKind::Start,
            &[b"e"],
        );
        assert_eq!(id.uuid().get_version_num(), 8);
        assert_eq!(id.uuid().get_variant(), uuid::Variant::RFC4122);
        assert_eq!(millis_of(id.uuid()), 1_771_970_400_123);
        assert_eq!(
            millis_of(DeliveryId::derive(id, WebhookId::from_uuid(Uuid::nil())).uuid()),
            millis_of(id.uuid())
        );
    }

    #[test]
    fn ids_travel_as_typeids() {
        let id = WebhookId::new_v7(1_771_970_400_123, [7; 10]);
        let text = id.to_string();
        assert!(text.starts_with("wh_") && text.len() == 29, "{text}");
        assert_eq!(text.parse::<WebhookId>(), Ok(id));
        assert!(text.replace("wh_", "goal_").parse::<WebhookId>().is_err());
        assert!("wh_".parse::<WebhookId>().is_err());
    }

    #[test]
    fn a_time_before_the_epoch_or_past_48_bits_is_held_at_the_edge() {
        assert_eq!(millis_of(uuid_floor(-5)), 0);
        assert_eq!(millis_of(uuid_floor(i64::MAX)), (1 << 48) - 1);
    }
}
