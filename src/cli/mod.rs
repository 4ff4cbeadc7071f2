//! The commands of the binary.
//!
//! In come arguments; out goes what was asked for on stdout, and everything else on stderr. A command that prints a
//! token or a key prints nothing else. Exit codes: 0 done, 1 failed, 2 used wrongly.

mod check;
mod demo;
mod health;
mod inspect;
mod keys;
mod listen;
mod listen_print;
mod loopback;
mod replay;
mod serve;
mod token;
mod topics;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::app;
use crate::config::{self, Config, ConfigSources};
use crate::telemetry::logs;

/// Webhooks for web analytics: events from Kafka become signed, recorded webhooks.
#[derive(Debug, Parser)]
#[command(name = "bellwether", version, propagate_version = true, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(subcommand)]
    command: Command,
}

/// Where the configuration comes from.
#[derive(Debug, Args)]
struct ConfigArgs {
    /// The configuration file (TOML). `bellwether.example.toml` documents every key
    #[arg(long, global = true, env = "BELLWETHER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key, such as `kafka.partitions=12`; wins over file and environment
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl ConfigArgs {
    fn load(&self) -> anyhow::Result<Config> {
        Ok(config::load(&self.sources())?)
    }

    /// The same for a command that uses all of it: what no such process could start with is refused too.
    fn load_to_serve(&self) -> anyhow::Result<Config> {
        Ok(config::load_judged(&self.sources(), app::refusals)?)
    }

    fn sources(&self) -> ConfigSources {
        ConfigSources {
            file: self.config.clone(),
            environment: true,
            overrides: self.set.clone(),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Serve(serve::ServeArgs),
    /// Apply the database's migrations and make its partitions
    Migrate,
    /// Make or check the Kafka topics
    #[command(subcommand)]
    Topics(topics::TopicsCommand),
    /// Look at the source topics
    #[command(subcommand)]
    Sources(inspect::SourcesCommand),
    /// Ask a running process whether it is alive, or ready
    Health(health::HealthArgs),
    /// Manage API tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Manage encryption keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Check the configuration and say what is wrong with it
    CheckConfig,
    /// Receive webhooks on this machine: verify and print them
    Listen(listen::ListenOptions),
    Demo(demo::DemoArgs),
    /// Publish a file of events to Kafka at a chosen speed
    Replay(replay::ReplayArgs),
}

/// Runs the command on the process's arguments.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // A runtime of its own: it also runs inside other programs' tests.
    if let Command::Listen(options) = cli.command {
        return code_of(listen::run(options).map(|()| ExitCode::SUCCESS));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("the runtime could not be started: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(cli));
    // A blocking call into librdkafka may still run; the process does not wait for it.
    runtime.shutdown_background();
    code_of(result)
}

fn code_of(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        complain(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(args) => serve::run(args, cli.config.load_to_serve()?).await?,
        Command::Migrate => serve::migrate(&cli.config.load()?).await?,
        Command::Topics(command) => return topics::run(command, &cli.config.load()?).await,
        Command::Sources(command) => return inspect::run(command, &cli.config.load()?).await,
        Command::Health(args) => return health::run(args, &cli.config.load()?).await,
        Command::Token(command) => token::run(command, &cli.config.load()?).await?,
        Command::Keys(command) => keys::run(&command)?,
        Command::CheckConfig => return check::run(&cli.config),
        Command::Demo(args) => {
            anyhow::ensure!(
                cli.config.set.is_empty(),
                "--set: the demo has a configuration of its own"
            );
            return demo::run(args).await;
        }
        Command::Listen(_) => unreachable!("handled before the runtime was started"),
        Command::Replay(args) => {
            let config = cli.config.load()?;
            logs::start(&config.telemetry, "replay", None);
            replay::run(args, &config).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A line for the person or the log, never for a pipe.
#[expect(clippy::print_stderr, reason = "the command line talks to its user on stderr")]
fn complain(text: &str) {
    eprintln!("bellwether: {text}");
}

/// A line of what was asked for.
#[expect(clippy::print_stdout, reason = "stdout is where a command's answer goes")]
fn print(text: &str) {
    println!("{text}");
}

/// Whether stdout is a terminal whose user has nothing against colours (<https://no-color.org>).
#[expect(
    clippy::disallowed_methods,
    reason = "a convention of all programs, and no setting of this one"
)]
fn wants_colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
