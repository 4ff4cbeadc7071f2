//! Calls that name each other's sites, at once.

use bellwether::record::tokens::{Role, Scope};
use futures_util::future::join_all;
use serde_json::json;
use sqlx::PgPool;

use crate::api_support::Api;

/// Rounds of calls.
const ROUNDS: usize = 40;

#[sqlx::test]
async fn puts_of_crossed_aliases_at_once_never_deadlock(pool: PgPool) {
    let api = Api::start(pool.clone()).await;
    for site in ["a.example", "b.example"] {
        let made = api
            .send("PUT", &format!("/api/sites/{site}"), Some(json!({})))
            .await;
        assert_eq!(made.status, 201, "{}", made.body);
    }
    // Somebody else's alias is looked at under a lock of the site.
    let both = Scope::Sites(["a.example", "b.example"].map(str::to_owned).to_vec());
    let caller = api.as_token(&both, Role::Editor).await;
    let mut statuses = Vec::new();
    for round in 0..ROUNDS {
        // Each one's alias is the other's id, then the other's alias.
        let (a, b) = match round % 2 {
            0 => ("b.example", "a.example"),
            _ => ("x.example", "y.example"),
        };
        let calls = [
            ("a.example", a),
            ("b.example", b),
            ("a.example", b),
            ("b.example", a),
        ];
        let by_admin = calls.map(|(site, alias)| {
            let path = format!("/api/sites/{site}");
            let api = &api;
            async move {
                api.send("PUT", &path, Some(json!({"aliases": [alias]})))
                    .await
                    .status
            }
        });
        let by_other = calls.map(|(site, alias)| {
            let path = format!("/api/sites/{site}");
            let caller = &caller;
            async move {
                caller
                    .send("PUT", &path, Some(json!({"aliases": [alias]})))
                    .await
                    .status
            }
        });
        let (one, other) = tokio::join!(join_all(by_admin), join_all(by_other));
        statuses.extend(one.into_iter().chain(other));
    }
    let is_judged = |status: &&u16| [200, 422].contains(*status);
    let odd: Vec<&u16> = statuses.iter().filter(|status| !is_judged(status)).collect();
    assert!(odd.is_empty(), "{odd:?}");
    let taken = statuses.iter().filter(|status| **status == 200).count();
    assert!(
        taken > 0 && taken < statuses.len(),
        "{taken} of {}",
        statuses.len()
    );
}
