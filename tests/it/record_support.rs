//! What the tests of the record share.

use base64::Engine as _;
use bellwether::domain::event::EventType;
use bellwether::domain::id::WebhookId;
use bellwether::domain::secret::{Hidden, Secret};
use bellwether::domain::site::SiteId;
use bellwether::domain::target::TargetUrl;
use bellwether::domain::trigger::{NameFilter, SpikeSettings, Triggers};
use bellwether::domain::webhook::{Format, WebhookSettings};
use bellwether::record::keyring::Keyring;
use bellwether::record::{sites, webhooks};
use bellwether::{chance, clock};
use sqlx::{Connection as _, PgConnection};

pub(crate) const DAY_MS: i64 = 86_400_000;
/// Noon of some day.
pub(crate) const NOON_MS: i64 = 1_771_934_400_000;

pub(crate) fn keyring(ids: &[(&str, u8)]) -> Keyring {
    let encode = |byte: u8| base64::engine::general_purpose::STANDARD.encode([byte; 32]);
    let lines: Vec<String> = ids
        .iter()
        .map(|(id, byte)| format!("{id}:{}", encode(*byte)))
        .collect();
    Keyring::parse(&lines).expect("good keys")
}

pub(crate) fn site(id: &str) -> SiteId {
    id.parse().expect("a site id")
}

pub(crate) fn settings(name: &str) -> WebhookSettings {
    WebhookSettings {
        name: name.to_owned(),
        url: TargetUrl::from_trusted("https://hooks.example.com/T000/secret-path").expect("a URL"),
        format: Format::Json,
        headers: vec![("X-Api-Key".to_owned(), Hidden::new("secret-header"))],
        events: vec![EventType::VisitorSpike, EventType::GoalCompletion],
        triggers: Triggers {
            visitor_spike: Some(
                SpikeSettings {
                    threshold: 5,
                    window_seconds: 300,
                }
                .into(),
            ),
            goal_completion: Some(NameFilter::All.into()),
            ..Triggers::default()
        },
        enabled: true,
        failure_threshold: 3,
        rate_limit_per_second: Some(50),
        rate_limit_is_set: false,
        max_concurrency: 8,
        retry_schedule: "default".to_owned(),
        max_age_seconds: None,
        external_id: None,
        paused_until: None,
    }
}

/// Registers the site and gives it a webhook.
pub(crate) async fn add_webhook(
    conn: &mut PgConnection,
    keyring: &Keyring,
    site_id: &str,
    name: &str,
) -> WebhookId {
    let now = clock::now();
    let id = WebhookId::new_v7(now.timestamp_millis(), chance::bytes());
    let mut tx = conn.begin().await.expect("begun");
    sites::register(&mut tx, &site(site_id), now)
        .await
        .expect("registered");
    let webhook = webhooks::NewWebhook {
        id,
        site_id: &site(site_id),
        settings: &settings(name),
        secret: &Secret::from_stored("a-secret-nobody-may-read".to_owned()),
    };
    webhooks::create(&mut tx, keyring, webhook, 10, now)
        .await
        .expect("created");
    tx.commit().await.expect("committed");
    id
}
