//! A database for one test.

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use super::unique;

pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) pool: PgPool,
}

impl Database {
    /// One on the server that all tests share. It may have the schema already: `bellwether migrate`
    /// adds what is missing.
    pub(crate) async fn create() -> Self {
        Self::create_on(&shared_server()).await
    }

    /// The same without the schema, in whatever way the server was started.
    pub(crate) async fn empty() -> Self {
        Self::create_from(&shared_server(), "template0").await
    }

    /// One on a server.
    pub(crate) async fn create_on(server: &str) -> Self {
        Self::create_from(server, "template1").await
    }

    async fn create_from(server: &str, template: &str) -> Self {
        let name = unique("t");
        let admin = PgPoolOptions::new()
            .max_connections(1)
            .connect(server)
            .await
            .unwrap();
        // The names are made of letters and digits.
        sqlx::raw_sql(&format!("create database {name} template {template}"))
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

fn shared_server() -> String {
    std::env::var("BELLWETHER_POSTGRES__URL").expect("`make test` starts Postgres and names it")
}
