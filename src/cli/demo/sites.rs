//! The made-up sites, and the settings that are made for them.

use serde_json::{Value, json};

/// A webhook of a demo site.
#[derive(Debug)]
pub(super) struct DemoWebhook {
    /// The path it is received under.
    pub(super) slug: &'static str,
    pub(super) name: &'static str,
    pub(super) events: &'static [&'static str],
}

/// End of the few visits that succeed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Success {
    /// The producer says so itself, with the money.
    Order,
    /// A custom event of this name.
    Custom(&'static str),
    /// A pageview that a goal waits for.
    Page(&'static str),
}

/// A made-up site.
#[derive(Debug)]
pub(super) struct DemoSite {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    /// Visitors within 300 s that are a spike.
    pub(super) threshold: u32,
    /// Visits a second in the busiest hour.
    pub(super) busiest: f64,
    /// Traffic of each hour of the day, in hundredths of the busiest.
    pub(super) day: [u8; 24],
    pub(super) pages: &'static [&'static str],
    /// The likeliest first; the empty one is no source.
    pub(super) sources: &'static [&'static str],
    /// Source of the visitors of a surge, and the page that they read.
    pub(super) surge: (&'static str, &'static str),
    pub(super) success: Success,
    pub(super) webhooks: &'static [DemoWebhook],
}

/// Thresholds of the sites' spikes, as they are now; `None` for a site without one.
pub(super) type Thresholds = [Option<u32>; SITES.len()];

/// Visitors within 300 s below which the shop is quiet: every night, and in its outage.
pub(super) const QUIET_VISITORS: u32 = 12;

/// All made-up sites.
pub(super) const SITES: [DemoSite; 3] = [
    DemoSite {
        id: "shop.example",
        name: "The shop",
        threshold: 150,
        busiest: 0.22,
        day: [
            18, 10, 6, 5, 5, 8, 18, 34, 48, 56, 60, 64, 70, 66, 62, 62, 66, 74, 84, 94, 100, 92, 66, 38,
        ],
        pages: &[
            "/",
            "/teapots",
            "/teapots/blue",
            "/cups",
            "/cups/large",
            "/sale",
            "/cart",
        ],
        sources: &["", "Google", "newsletter", "Instagram"],
        surge: ("Instagram", "/teapots/blue"),
        success: Success::Order,
        webhooks: &[
            DemoWebhook {
                slug: "shop-orders",
                name: "orders, to the warehouse",
                events: &["goal_completion"],
            },
            DemoWebhook {
                slug: "shop-alerts",
                name: "spikes and quiet times, to the team's chat",
                events: &["visitor_spike", "visitor_drop"],
            },
        ],
    },
    DemoSite {
        id: "blog.example",
        name: "The blog",
        threshold: 100,
        busiest: 0.14,
        day: [
            20, 14, 10, 8, 8, 14, 34, 70, 96, 100, 84, 74, 78, 70, 60, 56, 58, 60, 62, 64, 66, 60, 46, 30,
        ],
        pages: &[
            "/",
            "/posts/on-teapots",
            "/posts/418",
            "/posts/why-we-moved",
            "/about",
        ],
        sources: &["", "Google", "feed", "Mastodon"],
        surge: ("Hacker News", "/posts/418"),
        success: Success::Custom("Subscribed"),
        webhooks: &[DemoWebhook {
            slug: "blog",
            name: "everything",
            events: &["visitor_spike", "custom_event"],
        }],
    },
    DemoSite {
        id: "docs.example",
        name: "The manual",
        threshold: 200,
        busiest: 0.3,
        day: [
            16, 12, 10, 10, 12, 18, 32, 58, 84, 96, 98, 90, 76, 88, 100, 98, 90, 74, 54, 44, 40, 36, 28, 20,
        ],
        pages: &[
            "/",
            "/install",
            "/first-steps",
            "/reference/api",
            "/reference/errors",
            "/faq",
        ],
        sources: &["", "Google", "", "Stack Overflow"],
        surge: ("Reddit", "/first-steps"),
        success: Success::Page("/install/done"),
        webhooks: &[DemoWebhook {
            slug: "docs",
            name: "everything",
            events: &["visitor_spike", "goal_completion"],
        }],
    },
];

impl DemoSite {
    /// For `PUT /api/sites/{site_id}`.
    pub(super) fn settings(&self) -> Value {
        json!({"name": self.name})
    }

    /// For `POST /api/sites/{site_id}/goals`.
    pub(super) fn goal(&self) -> Option<Value> {
        match self.success {
            Success::Page(path) => Some(json!({"name": "Installed", "kind": "page", "path": path})),
            Success::Order | Success::Custom(_) => None,
        }
    }

    /// For `POST /api/sites/{site_id}/webhooks`.
    pub(super) fn webhook(&self, webhook: &DemoWebhook, receiver: std::net::SocketAddr) -> Value {
        let mut body = json!({
            "name": webhook.name,
            "url": format!("http://{receiver}/{}", webhook.slug),
            "events": webhook.events,
        });
        if webhook.events.contains(&"visitor_spike") {
            body["triggers"]["visitor_spike"] = json!({"threshold": self.threshold});
        }
        if webhook.events.contains(&"visitor_drop") {
            let settings =
                json!({"threshold": QUIET_VISITORS, "window_seconds": 300, "notify_resolved": true});
            body["triggers"]["visitor_drop"] = settings;
        }
        body
    }

    /// Visits a second at a time of day, in hours from 0 to 24.
    pub(super) fn rate(&self, hour: f64) -> f64 {
        // An hour's figure holds at its middle; between middles it changes evenly.
        let place = (hour - 0.5).rem_euclid(24.0);
        let (before, part) = (place as usize % 24, place.fract());
        let [from, to] = [before, (before + 1) % 24].map(|at| f64::from(self.day[at]));
        self.busiest * (from + (to - from) * part) / 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_moves_evenly_from_hour_to_hour() {
        let shop = &SITES[0];
        assert!((shop.rate(20.5) - shop.busiest).abs() < 1e-9);
        assert!((shop.rate(0.5) - shop.busiest * 0.18).abs() < 1e-9);
        assert!((shop.rate(0.0) - shop.busiest * 0.28).abs() < 1e-9);
        assert!((shop.rate(24.0) - shop.rate(0.0)).abs() < 1e-9);
    }

    #[test]
    fn an_ordinary_day_stays_well_below_every_threshold() {
        for site in &SITES {
            // Those who came within the window, and those who were reading when it began.
            let usual = site.busiest * (300.0 + 120.0);
            assert!(usual < 0.8 * f64::from(site.threshold), "{}", site.id);
        }
    }
}
