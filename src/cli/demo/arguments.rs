//! The arguments of `demo`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::values::{duration, whole};

/// Run everything in one process, with made-up traffic, and watch webhooks arrive.
///
/// Starts an embedded Kafka broker, a private PostgreSQL, the whole of Bellwether with three
/// made-up sites, and a receiver that verifies every signature and fails now and then, so that
/// retries are seen. Reads no configuration and touches nothing on this machine but a temporary
/// folder, which goes when the demo does.
#[derive(Debug, Args)]
pub(in crate::cli) struct DemoArgs {
    /// Times faster than life that the sites' days pass, 1 to 240
    #[arg(long, default_value_t = 60.0, value_parser = speed, value_name = "TIMES")]
    pub(super) speed: f64,
    /// The same number gives the same visitors
    #[arg(long, default_value_t = 1, value_name = "NUMBER", value_parser = whole(0_u64..))]
    pub(super) seed: u64,
    /// End after so long, as in 40s or 10m, when all that is under way has arrived
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(super) lasting: Option<Duration>,
    /// Folder of PostgreSQL's programs; by default the newest under /usr/lib/postgresql, else PATH
    #[arg(long, value_name = "FOLDER")]
    pub(super) postgres_bin: Option<PathBuf>,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (1.0..=240.0).contains(&value) => Ok(value),
        _ => Err("allowed: 1 to 240".into()),
    }
}
