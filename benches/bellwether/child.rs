//! Parts of this program as processes of their own: their cost can be measured, and they get a
//! core.

use std::process::{Command, Stdio};

use anyhow::Context as _;
use serde_json::Value;

use super::options::Options;
use super::{detector, machinery, memory, pure};

/// Runs as `role` and prints the figures as one line of JSON.
pub fn run(role: &str, options: &Options) -> anyhow::Result<()> {
    let measured = match role {
        "poll" => detector::count_by_poll(options),
        "batch" => detector::count_by_batch(options),
        "detector" => detector::detect(options),
        "pure" => pure::measure(options),
        "machinery" => machinery::measure(options),
        "memory" => memory::measure(options),
        _ => anyhow::bail!("no child is called {role}"),
    };
    println!("{}", measured?);
    Ok(())
}

/// Starts a child with these options on one core and returns its figures.
pub fn measure(role: &str, options: &Options) -> anyhow::Result<Value> {
    let this = std::env::current_exe().context("where this program is")?;
    let mut command = Command::new("taskset");
    command.arg("-c").arg(options.core.to_string()).arg(this);
    command.arg("--child").arg(role);
    for (name, value) in [
        ("--events", options.events.to_string()),
        ("--sites", options.sites.to_string()),
        ("--visitors", options.visitors.to_string()),
        ("--partitions", options.partitions.to_string()),
        ("--topic", options.topic.clone()),
        ("--prefix", options.prefix.clone()),
    ] {
        command.arg(name).arg(value);
    }
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("starting a child with taskset")?;
    anyhow::ensure!(output.status.success(), "the child {role} failed");
    serde_json::from_slice(&output.stdout).with_context(|| format!("reading what the child {role} measured"))
}
