//! Tokens over the API: for operators who do not reach Postgres.

use reqwest::Method;

use super::body::CallBody;
use super::client::ApiClient;
use super::list::{self, PageArgs};
use super::show::OutputArgs;
use super::table::Column;
use crate::cli::output::{check_open, print};
use crate::domain::id::TokenId;

const COLUMNS: [Column; 6] = [
    ("ID", "/id"),
    ("PREFIX", "/prefix"),
    ("ROLE", "/role"),
    ("LAST USED", "/last_used_at"),
    ("EXPIRES", "/expires_at"),
    ("SUBJECT", "/subject"),
];

/// Makes a token, and prints it alone. One that nobody has seen is revoked again.
pub(in crate::cli) async fn create(api: &ApiClient, body: &CallBody) -> anyhow::Result<()> {
    check_open()?;
    let answer = api.send(Method::POST, &["tokens"], body).await?.json()?;
    let (Some(id), Some(token)) = (answer["id"].as_str(), answer["token"].as_str()) else {
        anyhow::bail!("the answer of the API holds no token");
    };
    let Err(lost) = print(token) else {
        return Ok(());
    };
    let lost = match api.delete(&["tokens", id]).await {
        Ok(()) => lost.undone(format!("nobody has seen the token {id}, so it was revoked")),
        Err(error) => lost.leaving(format!(
            "nobody has seen the token {id}, and revoking it failed ({error:#}): `bellwether token revoke {id}`"
        )),
    };
    Err(lost.into())
}

/// Prints the tokens, newest first.
pub(in crate::cli) async fn list(api: &ApiClient, json: bool) -> anyhow::Result<()> {
    list::show(
        api,
        &["tokens"],
        &[],
        &PageArgs::ALL,
        &COLUMNS,
        OutputArgs { json },
    )
    .await
}

/// Revokes a token.
pub(in crate::cli) async fn revoke(api: &ApiClient, id: TokenId) -> anyhow::Result<()> {
    api.delete(&["tokens", &id.to_string()]).await
}
