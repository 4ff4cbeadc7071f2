use sqlx::PgPool;

use super::*;
use crate::clock;
use crate::record::portal_links::{NewLink, create_link, spend_link};

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
        let session = spend_link(&mut conn, &link, "a browser", now)
            .await
            .expect("spent");
        texts.push(session.expect("a session"));
    }
    let ended = find(&mut conn, &texts[0], None, now)
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
        assert!(find(&mut conn, text, None, over).await.expect("read").is_none());
    }
}

#[sqlx::test]
async fn expired_sessions_are_purged_in_batches(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    sqlx::raw_sql(
        "insert into api_tokens (id, kind, parent, token_hash, prefix, subject, admin, sites, role, inserted_at,
             expires_at)
         select lpad(n::text, 32, '0')::uuid, case n when 0 then 'token' else 'session' end,
             case n when 0 then null else lpad('0', 32, '0')::uuid end, sha256(n::text::bytea), 'bws_', 'somebody', true, '{}',
             'viewer', now() - interval '3 days', now() - make_interval(hours => case n when 12001 then 23 else 25 end)
         from generate_series(0, 12001) n",
    )
    .execute(&mut *conn)
    .await
    .expect("sessions");
    let mut batches = Vec::new();
    for _ in 0..4 {
        batches.push(purge(&mut conn, clock::now()).await.expect("purged"));
    }
    assert_eq!(batches, [5_000, 5_000, 2_000, 0]);
    let left: Vec<String> = sqlx::query_scalar("select kind from api_tokens order by id")
        .fetch_all(&mut *conn)
        .await
        .expect("read");
    assert_eq!(left, ["token", "session"]);
}
