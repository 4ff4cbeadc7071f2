//! `health`: asks the admin listener of the process that this configuration describes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use reqwest::{Client, StatusCode};

use super::local_http;
use super::output::{complain, print_json};
use super::values::duration;
use crate::cli::exit::ExitCode;
use crate::clock;
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    /// Ask whether it is ready, not only alive
    #[arg(long)]
    ready: bool,
    /// Ask again until it is, at most this long
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    wait: Duration,
}

/// Time between two questions.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn run(args: HealthArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let path = if args.ready { "/readyz" } else { "/healthz" };
    let url = format!("http://{}{path}", reachable(config.admin.listen));
    let client = local_http::client()?;
    let deadline = clock::monotonic() + args.wait;
    loop {
        let answer = ask(&client, &url).await;
        if !matches!(answer, Ok((StatusCode::OK, _))) && clock::monotonic() < deadline {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let (status, body) = answer?;
        if status == StatusCode::OK {
            print_json(&body)?;
            return Ok(ExitCode::SUCCESS);
        }
        complain(&format!("{url} answered {}: {body}", status.as_u16()));
        return Ok(ExitCode::FAILURE);
    }
}

async fn ask(client: &Client, url: &str) -> anyhow::Result<(StatusCode, String)> {
    local_http::send(client.get(url))
        .await
        .context("asking the admin listener (admin.listen)")
}

/// An address at which a listener is reached from this machine, also one on all addresses.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
