//! Arguments that the commands over the API share.

use clap::{Args, Subcommand};
use url::Url;

use crate::cli::values::http_url;
use crate::domain::secret::Hidden;
use crate::domain::site::SiteId;

/// Place of the API, and the right to use it.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct ApiArgs {
    /// URL of the service
    #[arg(
        long,
        global = true,
        env = "BELLWETHER_API_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8080",
        value_name = "URL",
        value_parser = server_url,
        help_heading = "API"
    )]
    pub(super) url: Url,
    /// API token; better set the variable, which other users of this machine cannot read
    #[arg(
        long,
        global = true,
        env = "BELLWETHER_API_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        value_parser = hidden,
        help_heading = "API"
    )]
    pub(super) token: Option<Hidden>,
}

/// Commands of a group in which all call the API.
#[derive(Debug, Args)]
pub(in crate::cli) struct ApiGroup<T: Subcommand> {
    #[command(subcommand)]
    pub(in crate::cli) command: T,
    #[command(flatten)]
    pub(in crate::cli) api: ApiArgs,
}

/// Site in whose scope a command works.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct SiteArgs {
    /// Id of the site
    #[arg(long, value_name = "SITE_ID")]
    pub(in crate::cli) site: SiteId,
}

fn hidden(text: &str) -> Result<Hidden, std::convert::Infallible> {
    Ok(Hidden::new(text))
}

/// Reads the URL of a server. An end of `/api` is left out.
fn server_url(text: &str) -> Result<Url, String> {
    let mut url = http_url(text)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL of the API has no user; the token is BELLWETHER_API_TOKEN".to_owned());
    }
    url.set_query(None);
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/api").unwrap_or(path).to_owned();
    url.set_path(&path);
    Ok(url)
}

#[cfg(test)]
mod tests;
