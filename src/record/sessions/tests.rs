use sqlx::PgPool;

use super::*;
use crate::clock;

fn link(sites: &[String], now: DateTime<Utc>) -> NewLink<'_> {
    NewLink {
        parent: None,
        subject: "somebody",
        sites,
        role: Role::Viewer,
        expires_at: now + TimeDelta::minutes(5),
    }
}

#[sqlx::test]
async fn sessions_are_checked_together_as_each_is_by_itself(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    let (now, sites) = (clock::now(), ["a".to_owned()]);
    let mut texts = Vec::new();
    for _ in 0..3 {
        let link = create_link(&mut conn, link(&sites, now), now)
            .await
            .expect("a link");
        let session = spend_link(&mut conn, &link, now).await.expect("spent");
        texts.push(session.expect("a session"));
    }
    let ended = find(&mut conn, &texts[0], now)
        .await
        .expect("read")
        .expect("valid");
    end(&mut conn, ended.token.id, now).await.expect("ended");
    let hashes: Vec<TokenHash> = texts.iter().map(|text| hash(text)).collect();
    let valid = still_valid(&mut conn, &hashes, now).await.expect("checked");
    assert_eq!(valid, HashSet::from([hashes[1], hashes[2]]));
    let used: i64 = sqlx::query_scalar(
        "select count(*) from api_tokens where kind = 'session' and last_used_at is not null",
    )
    .fetch_one(&mut *conn)
    .await
    .expect("a number");
    assert_eq!(used, 3);
    let over = now + LINK_SESSION;
    let valid = still_valid(&mut conn, &hashes, over).await.expect("checked");
    assert_eq!(valid, HashSet::new(), "the end of a link's session never moves");
    for text in &texts {
        assert!(find(&mut conn, text, over).await.expect("read").is_none());
    }
}
