//! `[sites]`

use serde::Deserialize;

use super::problems::{Problems, quoted};
use crate::domain::link_template::LinkTemplate;

/// `[sites]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SitesConfig {
    /// Page of a site, to which notifications link; `{site_id}` stands for the id.
    link_template: Option<String>,
}

impl SitesConfig {
    pub(super) fn validate(&self, problems: &mut Problems) {
        if let Some(text) = &self.link_template
            && let Err(invalid) = LinkTemplate::parse(text)
        {
            problems.add("sites.link_template", quoted(text), &invalid.to_string());
        }
    }

    /// The template that notifications take their links from.
    pub(crate) fn link_template(&self) -> Option<LinkTemplate> {
        LinkTemplate::parse(self.link_template.as_deref()?).ok()
    }
}
