//! The frame of every page: title, navigation, the site's time zone.

use super::assets::ASSETS;
use super::model::SiteView;
use super::paths::SitePath;
use super::times::Zone;

/// A part of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Now,
    Webhooks,
    Alerts,
    Goals,
    Settings,
}

impl Section {
    const ALL: [(Self, &'static str, &'static str); 5] = [
        (Self::Now, "Now", ""),
        (Self::Webhooks, "Webhooks", "/webhooks"),
        (Self::Alerts, "Alerts", "/alerts"),
        (Self::Goals, "Goals", "/goals"),
        (Self::Settings, "Settings", "/settings"),
    ];
}

/// An entry of the navigation.
#[derive(Debug)]
pub(super) struct NavLink {
    pub(super) words: &'static str,
    pub(super) href: String,
    pub(super) is_current: bool,
}

/// The site in the frame.
#[derive(Debug)]
pub(super) struct SiteFrame {
    pub(super) title: String,
    pub(super) zone: String,
    pub(super) nav: Vec<NavLink>,
    /// Words and address of the switch between the site's zone and UTC.
    pub(super) zone_switch: Option<(&'static str, String)>,
}

/// The frame of a page.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) title: String,
    /// True if a form was refused.
    pub(super) is_error: bool,
    pub(super) site: Option<SiteFrame>,
    /// The token of the session's forms; empty without a session.
    pub(super) form_token: String,
    /// Number that names this showing of the page's forms.
    pub(super) once: String,
    /// True if the visitor may see more than one site.
    pub(super) has_sites: bool,
    pub(super) is_editor: bool,
}

impl Layout {
    /// A frame without a session.
    pub(super) fn bare(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            is_error: false,
            site: None,
            form_token: String::new(),
            once: String::new(),
            has_sites: false,
            is_editor: false,
        }
    }

    pub(super) fn with_error(mut self, is_error: bool) -> Self {
        self.is_error = is_error;
        self
    }

    /// The hidden fields of every form: proof of origin, and the number by which it counts once.
    pub(super) fn hidden(&self) -> String {
        format!(
            "<input type=\"hidden\" name=\"token\" value=\"{}\"><input type=\"hidden\" name=\"once\" value=\"{}\">",
            self.form_token, self.once
        )
    }

    pub(super) fn css(&self) -> String {
        ASSETS[0].path()
    }

    pub(super) fn js(&self) -> String {
        ASSETS[1].path()
    }

    pub(super) fn icon(&self) -> String {
        ASSETS[2].path()
    }
}

/// A number that names one showing of a form.
pub(super) fn once() -> String {
    hex::encode(crate::chance::bytes::<16>())
}

impl SiteFrame {
    /// `here` is the address of the page without the switch of the zone.
    pub(super) fn new(site: &SiteView, path: &SitePath, zone: &Zone, section: Section, here: &str) -> Self {
        let nav = Section::ALL.map(|(one, words, end)| NavLink {
            words,
            href: zone.link(path.page(end)),
            is_current: one == section,
        });
        let zone_switch = match (zone.is_switched(), site.time_zone.as_str()) {
            (true, _) => Some(("show the site’s time", here.to_owned())),
            (false, "UTC") => None,
            (false, _) => Some(("show UTC", Zone::switched(zone.now()).link(here.to_owned()))),
        };
        Self {
            title: site.title().to_owned(),
            zone: zone.label(),
            nav: nav.into(),
            zone_switch,
        }
    }
}
