//! `check-config`

use super::config_args::ConfigArgs;
use super::output::print;

pub(super) fn run(args: &ConfigArgs) -> anyhow::Result<()> {
    let config = args.load_to_serve()?;
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
