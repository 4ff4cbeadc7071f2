//! `health`: asks the admin listener of the process that this configuration describes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::loopback::{self, Ask};
use super::{complain, print};
use crate::clock;
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    /// Ask whether it is ready, not only alive
    #[arg(long)]
    ready: bool,
    /// Ask again until it is, at most this long
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    wait: Duration,
}

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn run(args: HealthArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let path = if args.ready { "/readyz" } else { "/healthz" };
    let address = reachable(config.admin.listen);
    let deadline = clock::monotonic() + args.wait;
    loop {
        let answer = ask(address, path).await;
        if !matches!(answer, Ok((200, _))) && clock::monotonic() < deadline {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let (status, body) = answer?;
        if status == 200 {
            print(&body);
            return Ok(ExitCode::SUCCESS);
        }
        complain(&format!("http://{address}{path} answered {status}: {body}"));
        return Ok(ExitCode::FAILURE);
    }
}

async fn ask(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    loopback::ask(address, Ask::get(path))
        .await
        .context("asking the admin listener (admin.listen)")
}

/// A listener on all addresses is asked on the loopback one.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
