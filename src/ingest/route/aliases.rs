//! Sites by their aliases.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::registry::{Registry, Site};

/// The registered sites, and the ids that mean them.
#[derive(Debug, Default)]
pub(crate) struct SiteAliases {
    registry: Arc<Registry>,
    by_alias: HashMap<String, Arc<Site>>,
}

/// A site as an event names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResolvedSite<'a> {
    pub(crate) id: &'a str,
    pub(crate) is_registered: bool,
}

impl SiteAliases {
    pub(crate) fn of(registry: Arc<Registry>) -> Self {
        let sites = registry.sites.values();
        let by_alias = sites
            .flat_map(|site| site.aliases.iter().map(|alias| (alias.clone(), Arc::clone(site))))
            .collect();
        Self { registry, by_alias }
    }

    /// The site that an id means. Its own id wins over another site's alias.
    pub(crate) fn resolve<'a>(&'a self, id: &'a str) -> ResolvedSite<'a> {
        if self.registry.sites.contains_key(id) {
            return ResolvedSite {
                id,
                is_registered: true,
            };
        }
        let site = self.by_alias.get(id);
        ResolvedSite {
            id: site.map_or(id, |site| site.id.as_str()),
            is_registered: site.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(id: &str, aliases: &[&str]) -> Arc<Site> {
        Arc::new(Site {
            id: id.parse().expect("a site id"),
            name: None,
            link: None,
            include_paths: true,
            time_zone: chrono_tz::Tz::UTC,
            registered_ms: 0,
            unreadable: Vec::new(),
            aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
            goals: Vec::new(),
            webhooks: Vec::new(),
            version: 1,
        })
    }

    #[test]
    fn an_alias_means_its_site_and_an_own_id_itself() {
        let sites = [
            site("shop.example", &["42", "blog.example"]),
            site("blog.example", &[]),
        ];
        let sites = sites.into_iter().map(|site| (site.id.clone(), site));
        let aliases = SiteAliases::of(Arc::new(Registry {
            sites: sites.collect(),
            ..Registry::default()
        }));
        for (id, means, is_registered) in [
            ("42", "shop.example", true),
            ("shop.example", "shop.example", true),
            ("blog.example", "blog.example", true),
            ("43", "43", false),
        ] {
            let resolved = aliases.resolve(id);
            assert_eq!((resolved.id, resolved.is_registered), (means, is_registered));
        }
    }
}
