//! What a person sees: a line for each request that arrives, and on a terminal the visitors of each site below them.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::receiver::Arrival;
use super::sites::SITES;
use crate::cli::listen_print::printable;
use crate::cli::wants_colours;
use crate::domain::time::from_ms;

/// Looks at a site's visitors that its picture shows.
const PICTURE: usize = 40;
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// How things stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lag {
    /// Milliseconds since the Unix epoch, by the sites' clock.
    pub(super) now_ms: i64,
    /// Current visitors of each site.
    pub(super) visitors: [usize; SITES.len()],
    pub(super) events_per_second: u64,
}

/// What arrived in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) requests: u64,
    /// Not their delivery's first.
    pub(super) retries: u64,
    /// Answered with a failure on purpose.
    pub(super) failed: u64,
    pub(super) bad_signatures: u64,
}

impl Tally {
    /// Counts one more.
    pub(super) fn count(&mut self, arrival: &Arrival) {
        self.requests += 1;
        self.retries += u64::from(arrival.attempt > 1);
        self.failed += u64::from(arrival.status >= 500);
        self.bad_signatures += u64::from(!arrival.signature_ok);
    }
}

/// `31 requests, 5 failed on purpose, 5 retries, every signature ok`
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            requests,
            retries,
            failed,
            bad_signatures,
        } = self;
        write!(
            f,
            "{requests} requests, {failed} failed on purpose, {retries} retried, "
        )?;
        match bad_signatures {
            0 => f.write_str("every signature ok"),
            bad => write!(f, "{bad} BAD SIGNATURES"),
        }
    }
}

/// Standard output.
#[derive(Debug)]
pub(super) struct Screen {
    live: Option<Live>,
    colours: bool,
    unread: AtomicBool,
}

/// The part of a terminal that stays where it is.
#[derive(Debug)]
struct Live {
    all: MultiProgress,
    /// An empty line.
    gap: ProgressBar,
    sites: Vec<ProgressBar>,
    foot: ProgressBar,
    /// Each site's last looks, the newest last.
    looks: Vec<Vec<usize>>,
}

impl Screen {
    /// A terminal is drawn on; anything else gets lines.
    pub(super) fn new() -> Self {
        Self {
            colours: wants_colours(),
            live: None,
            unread: AtomicBool::new(false),
        }
    }

    /// Whether whoever read the lines has gone.
    pub(super) fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// Begins to draw the sites, where there is a terminal.
    pub(super) fn begin_live(&mut self) {
        if !io::stdout().is_terminal() {
            return;
        }
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout_with_hz(8));
        let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = || {
            let bar = all.add(ProgressBar::new_spinner());
            bar.set_style(style.clone());
            bar
        };
        let live = Live {
            gap: bar(),
            sites: SITES.iter().map(|_| bar()).collect(),
            foot: bar(),
            looks: vec![Vec::new(); SITES.len()],
            all: all.clone(),
        };
        live.gap.set_message(" ");
        self.live = Some(live);
    }

    /// Stops drawing; the last picture goes.
    pub(super) fn end_live(&mut self) {
        let Some(live) = self.live.take() else {
            return;
        };
        for bar in live.sites.iter().chain([&live.gap, &live.foot]) {
            bar.finish_and_clear();
        }
    }

    /// A line, above what is drawn.
    pub(super) fn say(&self, line: &str) {
        let said = match &self.live {
            Some(live) => live.all.println(line),
            None => {
                let mut out = io::stdout().lock();
                writeln!(out, "{line}").and_then(|()| out.flush())
            }
        };
        if said.is_err() {
            self.unread.store(true, Ordering::Relaxed);
        }
    }

    /// A line about a request.
    pub(super) fn show(&self, arrival: &Arrival) {
        self.say(&line(arrival, self.colours));
    }

    /// How things stand: drawn on a terminal; elsewhere said, when `say` it.
    pub(super) fn stand(&mut self, standing: &Lag, tally: &Tally, speed: f64, say: bool) {
        let colours = self.colours;
        let Some(live) = &mut self.live else {
            if say {
                self.say(&standing_line(standing));
            }
            return;
        };
        for (place, site) in SITES.iter().enumerate() {
            let looks = &mut live.looks[place];
            looks.push(standing.visitors[place]);
            if looks.len() > PICTURE {
                looks.remove(0);
            }
            let is_over = standing.visitors[place] >= site.threshold as usize;
            let number = format!("{:>4}", standing.visitors[place]);
            live.sites[place].set_message(format!(
                "  {:<13}{} {}  {}",
                site.id,
                paint(colours, if is_over { "1;33" } else { "1" }, &number),
                picture(looks, site.threshold, colours),
                paint(colours, "2", &format!("visitors, threshold {}", site.threshold)),
            ));
        }
        let foot = format!(
            "  {}, {speed} times faster than life · {} events/s · {} · Ctrl-C ends it",
            from_ms(standing.now_ms).format("%a %H:%M"),
            standing.events_per_second,
            tally,
        );
        live.foot.set_message(paint(colours, "2", &foot));
    }
}

/// `08:14:03  spike  blog.example  104 visitors, threshold 100 (Hacker News)   signature ok  attempt 1  9 ms  200`
fn line(arrival: &Arrival, colours: bool) -> String {
    let (what, colour) = match arrival.event.as_str() {
        "visitor_spike" => ("spike", "1;33"),
        "visitor_drop" => ("drop", "1;35"),
        "goal_completion" => ("goal", "1;32"),
        "custom_event" => ("event", "1;36"),
        other => (other, "1"),
    };
    let signature = if arrival.signature_ok {
        paint(colours, "32", "signature ok")
    } else {
        paint(colours, "1;31", "signature BAD")
    };
    let attempt = format!("attempt {}", arrival.attempt);
    let answer = match arrival.status {
        200 => paint(colours, "32", "200"),
        status @ 500.. => paint(colours, "31", &format!("{status} on purpose")),
        status => paint(colours, "31", &status.to_string()),
    };
    let mut line = format!(
        "{}  {}  {:<12}  {:<42}  {signature}  {}  ",
        paint(
            colours,
            "2",
            &from_ms(arrival.at_ms).format("%H:%M:%S").to_string()
        ),
        paint(colours, colour, &format!("{:<5}", printable(what))),
        printable(&arrival.site_id),
        printable(&happened(arrival)),
        paint(colours, if arrival.attempt > 1 { "33" } else { "0" }, &attempt),
    );
    let _ = write!(line, "{:>5} ms  {answer}", arrival.after_ms);
    line
}

/// What happened, in few words.
fn happened(arrival: &Arrival) -> String {
    let data = &arrival.data;
    let text = |key: &str| data[key].as_str().unwrap_or_default();
    if let (Some(visitors), Some(threshold)) = (data["current_visitors"].as_u64(), data["threshold"].as_u64())
    {
        let most = data["top_sources"][0]["source"].as_str();
        let most = most.map_or_else(String::new, |source| format!(" ({source})"));
        return format!("{visitors} visitors, threshold {threshold}{most}");
    }
    let name = if text("goal_name").is_empty() {
        text("name")
    } else {
        text("goal_name")
    };
    match (&data["revenue"], text("path")) {
        (Value::Object(money), _) => {
            let part = |key: &str| money.get(key).and_then(Value::as_str).unwrap_or_default();
            format!("{name}, {} {}", part("amount"), part("currency"))
        }
        (_, "") => name.to_owned(),
        (_, path) => format!("{name} on {path}"),
    }
}

/// `08:15:00  now    shop.example 62 of 150, …  118 events/s`
fn standing_line(standing: &Lag) -> String {
    let sites: Vec<String> = SITES
        .iter()
        .zip(standing.visitors)
        .map(|(site, visitors)| format!("{} {visitors} of {}", site.id, site.threshold))
        .collect();
    format!(
        "{}  now    {}, {} events/s",
        from_ms(standing.now_ms).format("%H:%M:%S"),
        sites.join(", "),
        standing.events_per_second
    )
}

/// Looks as bars; those at the threshold or above stand out.
fn picture(looks: &[usize], threshold: u32, colours: bool) -> String {
    let threshold = threshold as usize;
    // Three quarters of the height are the way to the threshold.
    let full = (threshold * 4 / 3).max(1);
    let mut picture: String = " ".repeat(PICTURE.saturating_sub(looks.len()));
    let mut is_over = false;
    for look in looks {
        let over = *look >= threshold;
        if colours && over != is_over {
            picture.push_str(if over { "\x1b[33m" } else { "\x1b[0m" });
        }
        is_over = over;
        let level = (look * LEVELS.len() / full).min(LEVELS.len() - 1);
        picture.push(LEVELS[level]);
    }
    if colours && is_over {
        picture.push_str("\x1b[0m");
    }
    picture
}

fn paint(colours: bool, code: &str, text: &str) -> String {
    if colours && code != "0" {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn arrival(event: &str, data: Value) -> Arrival {
        Arrival {
            event: event.to_owned(),
            site_id: "blog.example".to_owned(),
            at_ms: 1_771_834_443_000,
            data,
            signature_ok: true,
            attempt: 1,
            after_ms: 9,
            status: 200,
        }
    }

    #[test]
    fn a_line_says_what_happened_visitors_threshold_signature_attempt_and_milliseconds() {
        let spike = arrival(
            "visitor_spike",
            json!({"current_visitors": 104, "threshold": 100, "top_sources": [{"source": "Hacker News", "visitors": 80}]}),
        );
        assert_eq!(
            line(&spike, false),
            "08:14:03  spike  blog.example  104 visitors, threshold 100 (Hacker News)   signature ok  attempt 1      9 ms  200"
        );
        let order = Arrival {
            status: 503,
            ..arrival(
                "goal_completion",
                json!({"goal_name": "Order", "path": "/cart/done", "revenue": {"amount": "49.90", "currency": "EUR"}}),
            )
        };
        assert_eq!(
            line(&order, false),
            "08:14:03  goal   blog.example  Order, 49.90 EUR                            signature ok  attempt 1      9 ms  503 on purpose"
        );
        let forged = Arrival {
            signature_ok: false,
            status: 401,
            ..arrival("custom_event", json!({"name": "Subscribed", "path": "/about"}))
        };
        assert!(line(&forged, false).contains("Subscribed on /about"));
        assert!(line(&forged, false).contains("signature BAD"));
    }

    #[test]
    fn a_picture_is_as_wide_whatever_it_shows_and_marks_what_is_over_the_threshold() {
        assert_eq!(picture(&[0, 74, 75, 100, 900], 100, false).trim_start(), "▁▅▅▇█");
        assert_eq!(picture(&[1; PICTURE], 100, false).chars().count(), PICTURE);
        assert_eq!(picture(&[], 100, false).chars().count(), PICTURE);
        assert!(picture(&[100, 1], 100, true).contains("\x1b[33m▇\x1b[0m▁"));
    }
}
