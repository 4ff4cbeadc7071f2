//! Tokens over the API: for operators who do not reach Postgres.

use std::fmt::Display;

use reqwest::Method;

use super::body::CallBody;
use super::client::ApiClient;
use super::list::{self, PageArgs};
use super::show::OutputArgs;
use super::table::Column;
use crate::cli::output::{StdoutLost, check_open, print};
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
    Err(unseen(lost, id, api.delete(&["tokens", id]).await).into())
}

/// The error of a token that could not be shown. A right that nobody can use, and that somebody may
/// find, is better gone: `revoked` tells if it is.
pub(in crate::cli) fn unseen(lost: StdoutLost, id: impl Display, revoked: anyhow::Result<()>) -> StdoutLost {
    match revoked {
        Ok(()) => lost.undone(format!("nobody has seen the token {id}, so it was revoked")),
        Err(error) => lost.leaving(format!(
            "nobody has seen the token {id}, and revoking it failed ({error:#}): `bellwether token revoke {id}`"
        )),
    }
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
