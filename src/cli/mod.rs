//! The commands of the binary.
//!
//! In come arguments; out goes what was asked for on stdout, and everything else on stderr. A
//! command that prints a token or a key prints nothing else.

mod closed_stdout;
mod exit;
mod output;
mod text;
mod values;
mod request_text;
mod help;
mod config_args;
mod local_http;
mod calls;
mod signature;
mod dead_letter;
mod serve;
mod topics;
mod inspect;
mod health;
mod token;
mod keys;
mod check;
mod listen;
mod demo;
mod replay;
mod shell;

use std::sync::LazyLock;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use calls::{ApiClient, ApiGroup};
use config_args::{ConfigArgs, Configured, ConfiguredGroup};
use exit::ExitCode;

use crate::last_exit::end_process;

/// `0.1.0 (3fce506)`: the version, and the revision if whoever built the binary named it.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let version = env!("CARGO_PKG_VERSION");
    match option_env!("BELLWETHER_REVISION") {
        Some(revision) if !revision.is_empty() => format!("{version} ({revision})"),
        _ => version.to_owned(),
    }
});

/// Webhooks for web analytics: events from Kafka become signed, recorded webhooks.
#[derive(Debug, Parser)]
#[command(name = "bellwether", version = VERSION.as_str(), propagate_version = true, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Serve(Configured<serve::ServeArgs>),
    /// Apply the database's migrations and make its partitions
    Migrate(ConfigArgs),
    /// Make or check the Kafka topics
    Topics(ConfiguredGroup<topics::TopicsCommand>),
    /// Look at the source topics
    Sources(ConfiguredGroup<inspect::SourcesCommand>),
    /// Ask a running process whether it is alive, or ready
    Health(Configured<health::HealthArgs>),
    /// Manage API tokens
    Token(token::TokenArgs),
    /// Manage encryption keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Manage sites over the API
    Site(ApiGroup<calls::SiteCommand>),
    /// Manage webhooks over the API
    Webhook(ApiGroup<calls::WebhookCommand>),
    /// Manage goals over the API
    Goal(ApiGroup<calls::GoalCommand>),
    /// Look at deliveries over the API, and send them again
    Delivery(ApiGroup<calls::DeliveryCommand>),
    /// Look at the alert history over the API
    Alert(ApiGroup<calls::AlertCommand>),
    /// Make or check the signatures of a request
    #[command(subcommand)]
    Signature(signature::SignatureCommand),
    /// Look at the deliveries that failed for good
    DeadLetter(ConfiguredGroup<dead_letter::DeadLetterCommand>),
    /// Check the configuration and say what is wrong with it
    CheckConfig(ConfigArgs),
    /// Receive webhooks on this machine: verify and print them
    Listen(listen::ListenOptions),
    Demo(demo::DemoArgs),
    /// Publish a file of events to Kafka at a chosen speed
    Replay(Configured<replay::ReplayArgs>),
    /// Print the OpenAPI document of the API
    Openapi,
    /// Print what lets a shell complete the commands and their arguments
    Completions(shell::CompletionsArgs),
    /// Print the manual page, or write a page for each command
    Man(shell::ManArgs),
}

/// The command line, with examples and exit codes in every help.
fn command_line() -> clap::Command {
    with_negative_numbers(help::with_examples(Cli::command()))
}

/// Lets each option judge a number below zero, which would otherwise be taken for another option.
fn with_negative_numbers(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| {
        let is_option = arg.get_long().is_some() && arg.get_action().takes_values();
        arg.allow_negative_numbers(is_option)
    });
    command.mut_subcommands(with_negative_numbers)
}

/// Runs the command on the process's arguments.
pub fn main() -> ! {
    end_process(answer_command_line().0)
}

fn answer_command_line() -> ExitCode {
    let mut command_line = command_line();
    let parsed = command_line
        .try_get_matches_from_mut(std::env::args_os())
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(answer) => {
            let answer = exit::without_secrets(answer);
            let answer = exit::with_whole_usage(answer, &mut command_line);
            return exit::code_of_parser(&answer.format(&mut command_line));
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::code_of(Err(error.into())),
    };
    let result = runtime.block_on(run(cli.command));
    // A blocking call into librdkafka may still run; the process does not wait for it.
    runtime.shutdown_background();
    exit::code_of(result)
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(serve) => return serve::run(serve.args, &serve.config).await,
        Command::Migrate(config) => serve::migrate(&config.load()?).await?,
        Command::Topics(topics) => {
            return topics::run(topics.command, &topics.config.load_for_kafka()?).await;
        }
        Command::Sources(sources) => {
            return inspect::run(sources.command, &sources.config.load_for_kafka()?).await;
        }
        Command::Health(health) => return health::run(health.args, &health.config.load()?).await,
        Command::Token(token) => token::run(token).await?,
        Command::Keys(command) => return keys::run(&command).await,
        Command::Site(group) => calls::site(group.command, &ApiClient::new(&group.api)?).await?,
        Command::Webhook(group) => {
            return calls::webhook(group.command, &ApiClient::new(&group.api)?).await;
        }
        Command::Goal(group) => calls::goal(group.command, &ApiClient::new(&group.api)?).await?,
        Command::Delivery(group) => calls::delivery(group.command, &ApiClient::new(&group.api)?).await?,
        Command::Alert(group) => calls::alert(group.command, &ApiClient::new(&group.api)?).await?,
        Command::Signature(command) => return signature::run(&command),
        Command::DeadLetter(group) => {
            return dead_letter::run(group.command, &group.config.load_for_kafka()?).await;
        }
        Command::CheckConfig(config) => check::run(&config)?,
        Command::Listen(options) => return listen::run(options).await,
        Command::Demo(args) => return demo::run(args).await,
        Command::Replay(replay) => replay::run(replay.args, replay.config.load_for_kafka()?).await?,
        Command::Openapi => output::print_json(&format!("{:#}", crate::api::openapi()))?,
        Command::Completions(args) => shell::completions(&args, command_line())?,
        Command::Man(args) => shell::man(&args, command_line())?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
