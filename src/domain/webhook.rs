//! A webhook: a site's configured endpoint.

use chrono::{DateTime, Utc};

use super::event::EventType;
use super::id::WebhookId;
use super::secret::{Hidden, Secret};
use super::site::SiteId;
use super::target::TargetUrl;
use super::trigger::Triggers;
use super::words::words;

/// Longest name, in characters.
pub(crate) const MAX_NAME_CHARS: usize = 100;
/// Deliveries in a row that fail for good before the circuit opens, unless set.
pub(crate) const DEFAULT_FAILURE_THRESHOLD: u32 = 3;
/// Requests a second, unless set.
pub(crate) const DEFAULT_RATE_LIMIT_PER_SECOND: u32 = 50;
/// Requests under way at once, unless set.
pub(crate) const DEFAULT_MAX_CONCURRENCY: u32 = 8;
/// The schedule of a webhook that chooses none.
pub(crate) const DEFAULT_RETRY_SCHEDULE: &str = "default";

words! {
    /// Form of the requests that a webhook gets.
    #[derive(Default)]
    pub enum Format {
        /// The canonical body.
        #[default]
        Json = "json",
        /// CloudEvents 1.0, structured mode.
        CloudEvents = "cloudevents",
        /// A message for Slack's incoming webhooks.
        Slack = "slack",
        /// A message for Discord's webhooks.
        Discord = "discord",
        /// An Adaptive Card for Teams' Workflows.
        Teams = "teams",
    }
}

impl Format {
    /// Requests a second, unless set: chat services take about one.
    pub(crate) const fn default_rate_limit_per_second(self) -> u32 {
        match self {
            Self::Json | Self::CloudEvents => DEFAULT_RATE_LIMIT_PER_SECOND,
            Self::Slack | Self::Discord | Self::Teams => 1,
        }
    }

    /// The chat format that the endpoint at this host takes; `None` for all other hosts.
    pub(crate) fn of_host(host: &str) -> Option<Self> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_within = |domain: &str| {
            host.strip_suffix(domain)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let any = |domains: &[&str]| domains.iter().any(|domain| is_within(domain));
        if any(&["hooks.slack.com", "hooks.slack-gov.com"]) {
            Some(Self::Slack)
        } else if any(&["discord.com", "discordapp.com"]) {
            Some(Self::Discord)
        } else if any(&["logic.azure.com", "api.powerplatform.com", "webhook.office.com"]) {
            Some(Self::Teams)
        } else {
            None
        }
    }
}

words! {
    /// Reason why Bellwether disabled a webhook.
    pub(crate) enum DisableReason {
        /// The endpoint answered 410 Gone.
        Gone = "gone",
        /// The circuit stayed open for five days.
        OpenTooLong = "open_too_long",
    }
}

/// Settings of a webhook by its owner, complete and within every limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    pub name: String,
    pub url: TargetUrl,
    pub format: Format,
    /// Own headers; values are secret.
    pub headers: Vec<(String, Hidden)>,
    /// In the order the owner gave; `triggers` has a setting for each of these and no other.
    pub events: Vec<EventType>,
    pub triggers: Triggers,
    pub enabled: bool,
    pub failure_threshold: u32,
    /// `None` means no limit.
    pub rate_limit_per_second: Option<u32>,
    /// The owner has set the rate, so it stays when the format changes, also if it is the format's
    /// default. Of what was stored before this was, any other rate counts as set, too.
    pub rate_limit_is_set: bool,
    pub max_concurrency: u32,
    /// Name of a schedule in the configuration.
    pub retry_schedule: String,
    /// Overrides the event type's own limit on a delivery's age.
    pub max_age_seconds: Option<u32>,
    /// The owner's own id, unique among the webhooks of the site.
    pub external_id: Option<String>,
    /// Everything is held back until then.
    pub paused_until: Option<DateTime<Utc>>,
}

/// A webhook as detection needs it. Nothing of it is encrypted: whatever keys a replica holds, it
/// decides for every webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pub id: WebhookId,
    pub triggers: Triggers,
    /// Its owner's switch. Off, it misses nothing: nothing is decided for it.
    pub enabled: bool,
    /// Bellwether switched it off for what its endpoint did. What is decided for it meanwhile is
    /// recorded as cancelled.
    pub disabled: bool,
    /// Events whose record is older than this (milliseconds since the Unix epoch) do not reach it:
    /// its creation or last enabling.
    pub active_since_ms: i64,
}

/// The new secret of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextSecret {
    pub secret: Secret,
    /// From then on it signs alone.
    pub overlap_until: DateTime<Utc>,
}

/// A webhook as the deliverer needs it: decrypted, within every limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    pub id: WebhookId,
    pub site_id: SiteId,
    pub url: TargetUrl,
    /// Signs until a rotation's overlap ends, if there is a next one; see [`Webhook::signers`].
    pub secret: Secret,
    /// The new one of a rotation. Its overlap may have ended and nobody have tidied the rows yet.
    pub next_secret: Option<NextSecret>,
    /// The owner's own headers, each of which passed `deliver::own_headers`; values are hidden.
    pub headers: Vec<(String, Hidden)>,
    pub format: Format,
    /// The present wish of its site: true if requests may name paths of pages.
    pub include_paths: bool,
    /// As in its [`Subscription`].
    pub enabled: bool,
    /// As in its [`Subscription`].
    pub disabled: bool,
    /// As in its [`Subscription`].
    pub active_since_ms: i64,
    /// Name of a schedule in the configuration.
    pub retry_schedule: String,
    /// Overrides the event type's own limit on a delivery's age.
    pub max_age_seconds: Option<u32>,
    pub limits: SendLimits,
    /// Beginning of the last pause, if it is known.
    pub paused_at: Option<DateTime<Utc>>,
    /// End of the last pause, if it was lifted.
    pub pause_lifted_at: DateTime<Utc>,
    /// When its owner last changed the URL, if ever: it tells the URLs that the webhook had apart.
    pub url_changed_at: Option<DateTime<Utc>>,
}

/// Settings of a webhook that decide how much is sent to it at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendLimits {
    pub max_concurrency: u32,
    /// `None` means no limit.
    pub rate_per_second: Option<u32>,
    /// Deliveries in a row that fail for good and open the circuit.
    pub failure_threshold: u32,
    /// Everything is held back until then, in milliseconds since the Unix epoch.
    pub paused_until_ms: Option<i64>,
}

impl Default for SendLimits {
    fn default() -> Self {
        Self {
            max_concurrency: DEFAULT_MAX_CONCURRENCY,
            rate_per_second: Some(DEFAULT_RATE_LIMIT_PER_SECOND),
            failure_threshold: DEFAULT_FAILURE_THRESHOLD,
            paused_until_ms: None,
        }
    }
}

impl Webhook {
    /// Returns the secret that signs plainly at `now_ms`, and during a rotation's overlap the new
    /// one, which signs beside it. To the millisecond, and never later, the old one is out.
    pub(crate) fn signers(&self, now_ms: i64) -> (&Secret, Option<&Secret>) {
        match &self.next_secret {
            None => (&self.secret, None),
            Some(next) if now_ms < next.overlap_until.timestamp_millis() => {
                (&self.secret, Some(&next.secret))
            }
            Some(next) => (&next.secret, None),
        }
    }

    /// Returns until when it has been paused at the latest, in milliseconds since the Unix epoch:
    /// now if the pause goes on, when the pause was lifted if it was.
    pub(crate) fn paused_to_ms(&self, now_ms: i64) -> i64 {
        let until_ms = self.limits.paused_until_ms;
        now_ms.min(until_ms.unwrap_or_else(|| self.pause_lifted_at.timestamp_millis()))
    }

    /// Returns for how many milliseconds of the time since `from_ms` it has been paused, as far as
    /// the last pause tells.
    pub(crate) fn paused_ms_since(&self, from_ms: i64, now_ms: i64) -> i64 {
        self.paused_at.map_or(0, |paused_at| {
            let begun_ms = paused_at.timestamp_millis().max(from_ms);
            (self.paused_to_ms(now_ms) - begun_ms).max(0)
        })
    }

    /// Makes a webhook of which there is no row: without headers of its own, and with every limit
    /// as it is unless set.
    pub(crate) fn without_row(
        id: WebhookId,
        site_id: SiteId,
        url: TargetUrl,
        secret: Secret,
        format: Format,
    ) -> Self {
        Self {
            id,
            site_id,
            url,
            secret,
            next_secret: None,
            headers: Vec::new(),
            format,
            include_paths: true,
            enabled: true,
            disabled: false,
            active_since_ms: 0,
            retry_schedule: DEFAULT_RETRY_SCHEDULE.to_owned(),
            max_age_seconds: None,
            limits: SendLimits::default(),
            paused_at: None,
            pause_lifted_at: DateTime::UNIX_EPOCH,
            url_changed_at: None,
        }
    }

    /// Oldest age, in seconds, at which a notification of this type is still sent: 6 h for spikes
    /// and drops, else no limit.
    pub(crate) fn max_age_seconds(&self, event: EventType) -> Option<u32> {
        self.max_age_seconds.or(match event {
            EventType::VisitorSpike | EventType::VisitorDrop => Some(6 * 3_600),
            _ => None,
        })
    }
}
