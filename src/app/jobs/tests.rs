use super::*;
use crate::domain::id::JobId;

#[sqlx::test]
async fn an_erasure_that_is_done_leaves_no_row_of_itself(pool: PgPool) {
    let mut conn = pool.acquire().await.expect("a connection");
    let site = "gone.example".parse().expect("a site id");
    for (age, left) in [(ERASE_UNTIL - TimeDelta::hours(1), 1), (ERASE_UNTIL, 0)] {
        let id = JobId::from_uuid(Uuid::from_u128(7));
        let begun = clock::now() - age;
        sqlx::query("delete from jobs")
            .execute(&mut *conn)
            .await
            .expect("deleted");
        jobs::begin_erasure(&mut conn, id, &site, &[], begun)
            .await
            .expect("begun");
        let job = jobs::take(&mut conn, clock::now())
            .await
            .expect("read")
            .expect("due");
        erase(&mut conn, &job).await.expect("erased");
        let jobs: i64 = sqlx::query_scalar("select count(*) from jobs")
            .fetch_one(&mut *conn)
            .await
            .expect("a number");
        assert_eq!(jobs, left, "{age}");
    }
}
