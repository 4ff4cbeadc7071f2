//! A delivery: one notification for one webhook. An attempt: one HTTP request of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeliveryStatus {
    Pending,
    Retrying,
    Delivered,
    Failed,
    Cancelled,
}

impl DeliveryStatus {
    pub(crate) const ALL: [Self; 5] = [
        Self::Pending,
        Self::Retrying,
        Self::Delivered,
        Self::Failed,
        Self::Cancelled,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Retrying => "retrying",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Nothing further happens to it.
    pub(crate) const fn is_finished(self) -> bool {
        matches!(self, Self::Delivered | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for DeliveryStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a delivery failed or was cancelled for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FailureReason {
    /// The retry schedule is used up.
    Exhausted,
    /// The endpoint answered 410 Gone.
    Gone,
    /// Older than the webhook's `max_age_seconds` for its type.
    Expired,
    /// Too many deliveries waited for this webhook.
    Overflow,
    /// The webhook is disabled.
    Disabled,
    /// The webhook is deleted.
    Deleted,
}

impl FailureReason {
    pub(crate) const ALL: [Self; 6] = [
        Self::Exhausted,
        Self::Gone,
        Self::Expired,
        Self::Overflow,
        Self::Disabled,
        Self::Deleted,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Gone => "gone",
            Self::Expired => "expired",
            Self::Overflow => "overflow",
            Self::Disabled => "disabled",
            Self::Deleted => "deleted",
        }
    }
}

/// What made a delivery record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    Event,
    Resend,
    Recover,
    Replay,
}

impl Origin {
    pub(crate) const ALL: [Self; 4] = [Self::Event, Self::Resend, Self::Recover, Self::Replay];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Resend => "resend",
            Self::Recover => "recover",
            Self::Replay => "replay",
        }
    }
}

/// The text is none of the words allowed for this field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not one of the words allowed here")]
pub struct UnknownWord(String);

macro_rules! from_words {
    ($($name:ident),*) => {$(
        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                Self::ALL.into_iter().find(|one| one.as_str() == text).ok_or_else(|| UnknownWord(text.chars().take(64).collect()))
            }
        }
    )*};
}

from_words!(DeliveryStatus, FailureReason, Origin);
