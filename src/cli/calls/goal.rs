//! `goal list|get|create|update|delete`

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value};

use super::arguments::SiteArgs;
use super::body::{BodyArgs, CallBody};
use super::client::ApiClient;
use super::list::{self, PageArgs};
use super::show::{OutputArgs, send_and_print};
use super::table::Column;
use crate::cli::values::whole;
use crate::domain::goal::GoalKind;
use crate::domain::id::GoalId;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum GoalCommand {
    /// List the goals of a site
    List {
        #[command(flatten)]
        site: SiteArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show a goal
    Get {
        /// Id of the goal
        id: GoalId,
        #[command(flatten)]
        site: SiteArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Add a goal to a site
    Create {
        #[command(flatten)]
        site: SiteArgs,
        #[command(flatten)]
        fields: GoalFields,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Change the given settings of a goal
    Update {
        /// Id of the goal
        id: GoalId,
        #[command(flatten)]
        site: SiteArgs,
        #[command(flatten)]
        fields: GoalFields,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Delete a goal
    Delete {
        /// Id of the goal
        id: GoalId,
        #[command(flatten)]
        site: SiteArgs,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct GoalFields {
    /// Name that notifications show, unique within the site
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Kind of the goal
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(GoalKind::WORDS))]
    kind: Option<String>,
    /// Name of the event, for the kind `event`
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Path of the page, in which `*` matches anything, for the kinds `page` and `scroll`
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Depth in percent, for the kind `scroll`
    #[arg(long, value_name = "PERCENT", value_parser = whole(0..=100_u8))]
    scroll_threshold: Option<u8>,
    #[command(flatten)]
    body: BodyArgs,
}

const COLUMNS: [Column; 6] = [
    ("ID", "/id"),
    ("NAME", "/name"),
    ("KIND", "/kind"),
    ("EVENT", "/event"),
    ("PATH", "/path"),
    ("SCROLL", "/scroll_threshold"),
];

/// Fields of a goal's answer that a PUT does not take.
const READ_ONLY: [&str; 4] = ["id", "site_id", "inserted_at", "updated_at"];

/// Runs the command.
pub(in crate::cli) async fn run(command: GoalCommand, api: &ApiClient) -> anyhow::Result<()> {
    match command {
        GoalCommand::List { site, output } => {
            let path = ["sites", site.site.as_str(), "goals"];
            list::show(api, &path, &[], &PageArgs::ALL, &COLUMNS, output).await
        }
        GoalCommand::Get { id, site, output } => {
            let id = id.to_string();
            output.print(&api.get(&["sites", site.site.as_str(), "goals", &id], &[]).await?)
        }
        GoalCommand::Create { site, fields, output } => {
            let path = ["sites", site.site.as_str(), "goals"];
            send_and_print(api, Method::POST, &path, &fields.build()?, output).await
        }
        GoalCommand::Update {
            id,
            site,
            fields,
            output,
        } => {
            let mut body = fields.build()?.or_nothing_to_change()?;
            let id = id.to_string();
            let path = ["sites", site.site.as_str(), "goals", &id];
            let before: Map<String, Value> = serde_json::from_str(&api.get(&path, &[]).await?.text)?;
            body.fields = merged(before, body.fields);
            send_and_print(api, Method::PUT, &path, &body, output).await
        }
        GoalCommand::Delete { id, site } => {
            api.delete(&["sites", site.site.as_str(), "goals", &id.to_string()])
                .await
        }
    }
}

impl GoalFields {
    fn build(&self) -> anyhow::Result<CallBody> {
        self.body.build([
            ("name", "--name", self.name.clone().map(Value::from)),
            ("kind", "--kind", self.kind.clone().map(Value::from)),
            ("event", "--event", self.event.clone().map(Value::from)),
            ("path", "--path", self.path.clone().map(Value::from)),
            (
                "scroll_threshold",
                "--scroll-threshold",
                self.scroll_threshold.map(Value::from),
            ),
        ])
    }
}

/// The goal of a PUT, which replaces everything. Another kind of goal has other fields, so then
/// only its name and filters stay.
fn merged(mut before: Map<String, Value>, changes: Map<String, Value>) -> Map<String, Value> {
    let is_other_kind = changes
        .get("kind")
        .is_some_and(|kind| before.get("kind") != Some(kind));
    before.retain(|name, value| {
        let is_of_kind = matches!(name.as_str(), "event" | "path" | "scroll_threshold");
        !(READ_ONLY.contains(&name.as_str()) || value.is_null() || is_other_kind && is_of_kind)
    });
    before.extend(changes);
    before
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn an_update_keeps_what_is_not_given_unless_the_kind_changes() {
        let before = object(json!({
            "id": "goal_1", "name": "Read", "kind": "scroll", "event": null, "path": "/blog/*",
            "scroll_threshold": 90, "props": {"plan": "pro"}, "inserted_at": "…", "updated_at": "…",
        }));
        let renamed = merged(before.clone(), object(json!({"name": "Read it"})));
        assert_eq!(
            Value::Object(renamed),
            json!({"name": "Read it", "kind": "scroll", "path": "/blog/*", "scroll_threshold": 90, "props": {"plan": "pro"}})
        );
        let event = merged(before, object(json!({"kind": "event", "event": "paid"})));
        assert_eq!(
            Value::Object(event),
            json!({"name": "Read", "kind": "event", "event": "paid", "props": {"plan": "pro"}})
        );
    }
}
