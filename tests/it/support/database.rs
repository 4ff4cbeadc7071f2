//! A database for one test.

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use super::unique;

pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) pool: PgPool,
}

impl Database {
    /// An empty one on the server that all tests share.
    pub(crate) async fn create() -> Self {
        let server =
            std::env::var("BELLWETHER_POSTGRES__URL").expect("`make test` starts Postgres and names it");
        Self::create_on(&server).await
    }

    /// An empty one on a server.
    pub(crate) async fn create_on(server: &str) -> Self {
        let name = unique("t");
        let admin = PgPoolOptions::new()
            .max_connections(1)
            .connect(server)
            .await
            .unwrap();
        // The name is made of letters and digits.
        sqlx::raw_sql(&format!("create database {name}"))
            .execute(&admin)
            .await
            .unwrap();
        let mut url = url::Url::parse(server).unwrap();
        url.set_path(&name);
        let pool = PgPoolOptions::new()
            .max_connections(4)
            .connect(url.as_str())
            .await
            .unwrap();
        Self {
            url: url.to_string(),
            pool,
        }
    }
}
