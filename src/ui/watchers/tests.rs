use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::clock;
use crate::domain::id::TokenId;
use crate::record::tokens::{Role, Scope, TokenRecord};

fn session(is_of_link: bool) -> SessionRecord {
    SessionRecord {
        token: TokenRecord {
            id: TokenId::new_v7(1, [0; 10]),
            subject: "somebody".to_owned(),
            scope: Scope::Admin,
            role: Role::Viewer,
            prefix: "bws_".to_owned(),
            inserted_at: clock::now(),
            expires_at: None,
            last_used_at: None,
        },
        is_extended: false,
        is_of_link,
        site: None,
    }
}

fn hash(number: u8) -> TokenHash {
    [number; 32]
}

#[tokio::test]
async fn two_hundred_viewers_are_checked_by_one_statement_a_second() {
    let watchers = Watchers::default();
    let begun = clock::monotonic();
    for viewer in 0..200 {
        watchers.note(hash(viewer), session(false), begun).await;
    }
    let (checks, extended) = (AtomicU32::new(0), AtomicU32::new(0));
    for tenth in 1..=1_250 {
        // Each asks every five seconds.
        let now = begun + Duration::from_millis(100 * tenth);
        for viewer in (0..200_u8).filter(|viewer| u64::from(*viewer) % 50 == tenth % 50) {
            let check = async |all: Vec<TokenHash>| {
                checks.fetch_add(1, Ordering::Relaxed);
                Ok::<_, ()>(all.into_iter().collect())
            };
            let found = watchers.find(&hash(viewer), now, check).await.expect("checked");
            let is_extended = found.expect("known").is_extended;
            extended.fetch_add(u32::from(is_extended), Ordering::Relaxed);
        }
    }
    assert_eq!(checks.load(Ordering::Relaxed), 125, "in as many seconds");
    assert_eq!(extended.load(Ordering::Relaxed), 400, "each cookie once a minute");
}

#[tokio::test]
async fn a_session_that_has_ended_is_forgotten_within_a_second() {
    let watchers = Watchers::default();
    let begun = clock::monotonic();
    watchers.note(hash(1), session(true), begun).await;
    watchers.note(hash(2), session(true), begun).await;
    let ended = async |_: Vec<TokenHash>| Ok::<_, ()>(HashSet::from([hash(2)]));
    let known = async |all: Vec<TokenHash>| Ok::<_, ()>(all.into_iter().collect());
    let later = begun + Duration::from_millis(999);
    assert!(
        watchers
            .find(&hash(1), later, ended)
            .await
            .expect("known")
            .is_some()
    );
    let later = begun + FRESH;
    assert!(
        watchers
            .find(&hash(1), later, ended)
            .await
            .expect("asked")
            .is_none()
    );
    assert!(
        watchers
            .find(&hash(2), later, known)
            .await
            .expect("known")
            .is_some()
    );
}

#[tokio::test]
async fn who_has_stopped_asking_is_not_checked_with_the_others() {
    let watchers = Watchers::default();
    let begun = clock::monotonic();
    watchers.note(hash(1), session(true), begun).await;
    let later = begun + WATCHES;
    watchers.note(hash(2), session(true), later).await;
    let asked = async |all: Vec<TokenHash>| {
        assert_eq!(all, [hash(2)]);
        Ok::<_, ()>(all.into_iter().collect())
    };
    let found = watchers
        .find(&hash(2), later + FRESH, asked)
        .await
        .expect("asked");
    assert!(found.is_some());
    let failed = async |_: Vec<TokenHash>| Err::<HashSet<TokenHash>, _>("away");
    assert!(watchers.find(&hash(2), later + 3 * FRESH, failed).await.is_err());
}
