//! Lists, which the API answers page by page.

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::client::ApiClient;
use super::show::OutputArgs;
use super::table::{self, Column};
use crate::cli::output::{note, print, print_json};
use crate::cli::values::whole;

/// Most entries of a page.
pub(super) const PAGE: u32 = 250;

/// A part of a list.
#[derive(Debug, Args)]
pub(in crate::cli) struct PageArgs {
    /// Most entries that are listed
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = whole(1_u32..))]
    limit: u32,
    /// Go on where an earlier list ended: its `next`
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
}

impl PageArgs {
    /// A whole list.
    pub(super) const ALL: Self = Self {
        limit: u32::MAX,
        after: None,
    };

    /// The newest `limit` entries.
    pub(super) fn newest(limit: u32) -> Self {
        Self { limit, after: None }
    }

    /// Most entries that are wanted.
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }
}

/// A list as the API answers it. Entries are as they came.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ListPage {
    pub(super) data: Vec<Box<RawValue>>,
    pub(super) next: Option<String>,
}

/// Reads the list at `path`, over as many pages as are wanted.
pub(super) async fn read(
    api: &ApiClient,
    path: &[&str],
    query: &[(&str, String)],
    wanted: &PageArgs,
) -> anyhow::Result<ListPage> {
    let mut list = ListPage {
        data: Vec::new(),
        next: wanted.after.clone(),
    };
    loop {
        let missing = wanted.limit.saturating_sub(u32::try_from(list.data.len())?);
        let mut query = query.to_vec();
        // Lists that are always whole take neither.
        if wanted.limit != u32::MAX {
            query.push(("limit", missing.min(PAGE).to_string()));
        }
        query.extend(list.next.take().map(|next| ("after", next)));
        let answer = api.get(path, &query).await?;
        let page: ListPage = serde_json::from_str(&answer.text)?;
        let is_empty = page.data.is_empty();
        list.data.extend(page.data);
        list.next = page.next;
        if is_empty || list.next.is_none() || list.data.len() >= wanted.limit as usize {
            return Ok(list);
        }
    }
}

/// Reads and prints the list at `path`.
pub(super) async fn show(
    api: &ApiClient,
    path: &[&str],
    query: &[(&str, String)],
    wanted: &PageArgs,
    columns: &[Column],
    output: OutputArgs,
) -> anyhow::Result<()> {
    let list = read(api, path, query, wanted).await?;
    if output.json {
        print_json(&serde_json::to_string(&list)?)?;
        return Ok(());
    }
    let rows: Vec<Value> = list
        .data
        .iter()
        .map(|row| serde_json::from_str(row.get()))
        .collect::<Result<_, _>>()?;
    print(&table::lines(columns, &rows).join("\n"))?;
    if let Some(next) = list.next {
        note(&format!("there are more: --after {next}"));
    }
    Ok(())
}
