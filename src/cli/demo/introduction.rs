//! The text before the first arrival: addresses, and things to try. Pure. Within 80 columns.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// The facts that it names.
#[derive(Debug)]
pub(super) struct Introduction<'a> {
    pub(super) speed: f64,
    pub(super) receiver: SocketAddr,
    pub(super) brokers: &'a str,
    pub(super) folder: &'a Path,
    pub(super) api: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) token: &'a str,
    pub(super) link: &'a str,
    pub(super) site_id: &'a str,
    /// A webhook of that site.
    pub(super) webhook: &'a str,
    /// Arrivals have short lines.
    pub(super) is_narrow: bool,
}

impl Introduction<'_> {
    /// The text, without its last line end.
    pub(super) fn text(&self) -> String {
        let Self {
            speed,
            receiver,
            brokers,
            api,
            admin,
            token,
            link,
            site_id,
            webhook,
            ..
        } = self;
        let day = humantime::format_duration(Duration::from_secs((86_400.0 / speed) as u64));
        let folder = self.folder.display();
        let key = if self.is_narrow {
            " `ok` is the signature,\n`#` the attempt."
        } else {
            ""
        };
        format!(
            "
  traffic     3 made-up sites, {speed} times faster than life: a day takes {day}
  receiver    http://{receiver}
              verifies every signature, fails one delivery in five on purpose
  Kafka       {brokers}, inside this process
  PostgreSQL  {folder}
  API         http://{api}
  metrics     http://{admin}/metrics

The sites' pages as their owner sees them, in a browser (the link works once):

  http://{api}/p/{link}

To try in another terminal: the webhooks of a site, the latest deliveries of
one, and a lower threshold, which is a spike at once.

  AUTH='Authorization: Bearer {token}'
  SITE=http://{api}/api/sites/{site_id}
  HOOK=$SITE/webhooks/{webhook}
  curl -s -H \"$AUTH\" $SITE/webhooks; echo
  curl -s -H \"$AUTH\" \"$HOOK/deliveries?limit=3\"; echo
  curl -s -H \"$AUTH\" -H 'Content-Type: application/json' -X PATCH $HOOK \\
    -d '{{\"triggers\":{{\"visitor_spike\":{{\"threshold\":10}}}}}}'; echo

What arrives, by the sites' clock; the milliseconds are those from the event
in Kafka to the request here.{key}
"
        )
    }
}
