//! `check-config`

use std::process::ExitCode;

use super::{ConfigArgs, complain, print};

pub(super) fn run(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    match args.load() {
        Ok(config) => {
            print(&format!(
                "the configuration is valid ({} sources, hash {})",
                config.sources.0.len(),
                config.shared_hash()
            ));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            complain(&format!("{error:#}"));
            Ok(ExitCode::FAILURE)
        }
    }
}
