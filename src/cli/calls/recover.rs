//! `webhook recover` and `webhook recovery`: sending again what failed in a span of time.

use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde_json::Value;

use super::arguments::SiteArgs;
use super::body::CallBody;
use super::client::{ApiAnswer, ApiClient};
use super::show::{OutputArgs, send_and_print};
use crate::cli::exit::ExitCode;
use crate::cli::output::{complain, note, progress_target};
use crate::cli::values::time;
use crate::clock;
use crate::domain::id::{JobId, WebhookId};

/// Time between two looks at a job.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time between two lines about a job where there is no terminal.
const NOTE_EVERY: Duration = Duration::from_secs(5);

/// Send every failed and cancelled delivery of a span of time again.
#[derive(Debug, Args)]
pub(in crate::cli) struct RecoverArgs {
    /// Id of the webhook
    id: WebhookId,
    #[command(flatten)]
    site: SiteArgs,
    /// Start of the span, such as 2026-02-25T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: String,
    /// End of the span; by default now
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<String>,
    /// Wait until everything is sent, and show how far it has come
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RecoveryArgs {
    /// Id of the webhook
    id: WebhookId,
    /// Id of the job, as `webhook recover` prints it
    job: JobId,
    #[command(flatten)]
    site: SiteArgs,
    /// Send no more of it
    #[arg(long)]
    cancel: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Starts a job, and waits for its end if that is wanted.
pub(super) async fn start(api: &ApiClient, args: &RecoverArgs) -> anyhow::Result<ExitCode> {
    let id = args.id.to_string();
    let body = CallBody::of([
        ("since", "--since", Some(args.since.clone().into())),
        ("until", "--until", args.until.clone().map(Value::from)),
    ]);
    let path = ["sites", args.site.site.as_str(), "webhooks", &id, "recover"];
    if !args.wait {
        send_and_print(api, Method::POST, &path, &body, args.output).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let started = api.send(Method::POST, &path, &body).await?;
    let job = started.json()?["id"].as_str().unwrap_or_default().to_owned();
    let path = [
        "sites",
        args.site.site.as_str(),
        "webhooks",
        &id,
        "recoveries",
        &job,
    ];
    let ended = wait(api, &path).await?;
    args.output.print(&ended)?;
    let status = ended.json()?["status"].as_str().unwrap_or_default().to_owned();
    if status == "finished" {
        return Ok(ExitCode::SUCCESS);
    }
    complain(&format!("the recovery ended as {status}"));
    Ok(ExitCode::FAILURE)
}

/// Shows a job, or cancels it.
pub(super) async fn show(api: &ApiClient, args: &RecoveryArgs) -> anyhow::Result<()> {
    let (id, job) = (args.id.to_string(), args.job.to_string());
    let path = [
        "sites",
        args.site.site.as_str(),
        "webhooks",
        &id,
        "recoveries",
        &job,
    ];
    if args.cancel {
        return api.delete(&path).await;
    }
    args.output.print(&api.get(&path, &[]).await?)
}

/// Waits for the end of a job and returns it.
async fn wait(api: &ApiClient, path: &[&str]) -> anyhow::Result<ApiAnswer> {
    let mut progress = JobProgress::new(clock::monotonic());
    loop {
        let job = api.get(path, &[]).await?;
        let state = job.json()?;
        progress.set(&state, clock::monotonic());
        if state["status"] != "running" {
            progress.bar.finish_and_clear();
            return Ok(job);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The progress of a job: a bar on a terminal, lines elsewhere.
struct JobProgress {
    bar: ProgressBar,
    noted_at: Instant,
}

impl JobProgress {
    fn new(now: Instant) -> Self {
        let bar = ProgressBar::with_draw_target(None, progress_target());
        let style = ProgressStyle::with_template("{bar:40} {pos} of {len}  {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, noted_at: now }
    }

    fn set(&mut self, job: &Value, now: Instant) {
        let number = |name: &str| job[name].as_u64().unwrap_or_default();
        let (done, total) = (number("sent") + number("skipped"), number("total"));
        self.bar.set_length(total);
        self.bar.set_position(done);
        if self.bar.is_hidden() && now.duration_since(self.noted_at) >= NOTE_EVERY {
            self.noted_at = now;
            note(&format!("recovering: {done} of {total}"));
        }
    }
}
