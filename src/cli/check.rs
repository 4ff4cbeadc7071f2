//! `check-config`

use super::config_args::ConfigArgs;
use super::output::{complain, print};

pub(super) fn run(args: &ConfigArgs) -> anyhow::Result<()> {
    let config = args.load_to_serve()?;
    if config.encryption.keys.is_empty() && config.encryption.key_files.is_empty() {
        complain(
            "note: there is no encryption key, and `serve` starts with none; `bellwether keys generate` prints one \
             for encryption.keys",
        );
    }
    let sources = match config.sources.0.len() {
        1 => "1 source".to_owned(),
        count => format!("{count} sources"),
    };
    Ok(print(&format!(
        "the configuration is valid: {}; {sources}, hash {}",
        args.summary(),
        config.shared_hash()
    ))?)
}
