//! `completions` and `man`: the command line for shells and for readers of manuals.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::Shell;

use super::output::write;

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write a page for every command into this folder, and print nothing
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

/// Prints a script for the shell.
pub(super) fn completions(args: &CompletionsArgs, mut command_line: Command) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command_line, "bellwether", &mut script);
    Ok(write(&script)?)
}

/// Prints the manual page of the whole, or writes one for every command.
pub(super) fn man(args: &ManArgs, command_line: Command) -> anyhow::Result<()> {
    if let Some(folder) = &args.to {
        return clap_mangen::generate_to(command_line, folder)
            .with_context(|| format!("writing manual pages into {}", folder.display()));
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command_line).render(&mut page)?;
    Ok(write(&page)?)
}
