//! 100,000 webhooks over 20,000 sites.

use std::time::{Duration, Instant};

use bellwether::domain::event::EventType;
use bellwether::domain::goal::{GoalRule, GoalSettings};
use bellwether::domain::id::{GoalId, WebhookId};
use bellwether::domain::secret::Secret;
use bellwether::domain::trigger::DropSettings;
use bellwether::domain::webhook::WebhookSettings;
use bellwether::record::keyring::Keyring;
use bellwether::record::webhooks::NewWebhook;
use bellwether::record::{goals, sites, webhooks};
use bellwether::{chance, clock};
use reqwest::Method;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use crate::record_support::{settings, site};
use crate::support::app::{Deployment, KEY};

const SITES: usize = 20_000;
const WEBHOOKS_PER_SITE: usize = 5;
const GOALS_PER_SITE: usize = 5;
/// Sites that are written in a transaction.
const SITES_AT_ONCE: usize = 500;

/// Longest time from the start of a process until it has loaded all of it and is ready.
const MAX_LOAD: Duration = match cfg!(debug_assertions) {
    true => Duration::from_secs(60),
    false => Duration::from_secs(10),
};

/// A webhook with a spike, a drop and all goals.
fn watching() -> WebhookSettings {
    let mut settings = settings("all of it");
    settings.events.push(EventType::VisitorDrop);
    settings.triggers.visitor_drop = Some(
        DropSettings {
            threshold: 10,
            window_seconds: 300,
            require_history: true,
        }
        .into(),
    );
    settings
}

async fn fill(conn: &mut PgConnection, first: usize, keys: &Keyring) {
    let (settings, now) = (watching(), clock::now());
    let secret = Secret::from_stored("a-secret-nobody-may-read".to_owned());
    let mut tx = conn.begin().await.unwrap();
    for number in first..first + SITES_AT_ONCE {
        let site_id = site(&format!("{number}.example"));
        sites::register(&mut tx, &site_id, now).await.unwrap();
        for goal in 0..GOALS_PER_SITE {
            let id = GoalId::new_v7(now.timestamp_millis(), chance::bytes());
            let goal = GoalSettings {
                name: format!("goal {goal}"),
                rule: GoalRule::Page {
                    path: format!("/thanks/{goal}*"),
                },
                props: Vec::new(),
            };
            goals::create(&mut tx, &site_id, id, &goal, now).await.unwrap();
        }
        for _ in 0..WEBHOOKS_PER_SITE {
            let webhook = NewWebhook {
                id: WebhookId::new_v7(now.timestamp_millis(), chance::bytes()),
                site_id: &site_id,
                settings: &settings,
                secret: &secret,
            };
            webhooks::create(&mut tx, keys, webhook, 10, now).await.unwrap();
        }
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
#[ignore = "measures; takes minutes"]
async fn a_fleet_of_webhooks_load_in_seconds() {
    let deployment = Deployment::create(&[]).await;
    let keys = Keyring::parse(&[KEY.to_owned()]).unwrap();
    let mut conn = deployment.database.pool.acquire().await.unwrap();
    for first in (0..SITES).step_by(SITES_AT_ONCE) {
        fill(&mut conn, first, &keys).await;
    }
    let mut replicas = Vec::new();
    for _ in 0..2 {
        let begun = Instant::now();
        replicas.push(deployment.serve(&[]).await);
        let taken = begun.elapsed();
        println!("ready after {:.1} s", taken.as_secs_f64());
        assert!(taken < MAX_LOAD, "{taken:?}");
    }
    let (status, answer) = deployment
        .call(&replicas[0], Method::GET, "/api/sites/7.example/webhooks", None)
        .await;
    assert!(status.is_success(), "{answer}");
    let id = answer["data"][0]["id"].as_str().unwrap();
    let path = format!("/api/sites/7.example/webhooks/{id}");
    for threshold in 100..120 {
        let edit = json!({"triggers": {"visitor_spike": {"threshold": threshold}}});
        let begun = Instant::now();
        let (status, answer) = deployment
            .call(&replicas[0], Method::PATCH, &path, Some(edit))
            .await;
        assert!(status.is_success(), "{answer}");
        for replica in &replicas {
            deployment.registry_is_read(replica).await;
        }
        let taken = begun.elapsed();
        println!("followed on both after {} ms", taken.as_millis());
        assert!(taken.as_secs_f64() < 1.5, "an edit and a second");
    }
    for replica in &replicas {
        let bytes = replica.metric("process_resident_memory_bytes").await;
        println!("{:.0} MB in memory", bytes / 1e6);
    }
}
