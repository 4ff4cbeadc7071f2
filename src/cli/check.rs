//! `check-config`

use std::process::ExitCode;

use super::{ConfigArgs, complain, print};

pub(super) fn run(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    match args.load_to_serve() {
        Ok(config) => {
            if config.encryption.keys.is_empty() && config.encryption.key_files.is_empty() {
                complain(
                    "note: there is no encryption key, and `serve` starts with none; `bellwether keys generate` prints one \
                     for encryption.keys",
                );
            }
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
