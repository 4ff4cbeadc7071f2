//! Standard output of the demo: a line for each request that arrives, and on a terminal the
//! visitors of each site below them.

use std::io;
use std::sync::OnceLock;

use super::arrival::{Arrival, ArrivalTally};
use super::frame::Frame;
use super::layout::{self, PICTURE, Style};
use super::sites::{SITES, Thresholds};
use super::stream::TrafficSnapshot;
use crate::cli::output::{StdoutLost, is_drawable, wants_colours, write};

/// Columns of a terminal that does not say how many it has.
const USUAL_COLUMNS: usize = 80;

/// Standard output.
#[derive(Debug)]
pub(super) struct Screen {
    live: Option<Live>,
    /// A terminal whose cursor can be moved.
    is_drawable: bool,
    colours: bool,
    /// The first failure to write.
    lost: OnceLock<StdoutLost>,
    has_shown_whole: bool,
}

/// The part of a terminal that stays where it is.
#[derive(Debug, Default)]
struct Live {
    frame: Frame,
    lines: Vec<String>,
    /// Each site's last visitor counts, the newest last.
    counts: [Vec<usize>; SITES.len()],
}

impl Screen {
    /// A terminal is drawn on; anything else gets lines.
    pub(super) fn new() -> Self {
        Self {
            live: None,
            is_drawable: is_drawable(),
            colours: wants_colours(),
            lost: OnceLock::new(),
            has_shown_whole: false,
        }
    }

    /// True if whoever read the lines has gone.
    pub(super) fn is_unread(&self) -> bool {
        self.lost.get().is_some()
    }

    /// The failure to write, if there was one.
    pub(super) fn into_lost(self) -> Option<StdoutLost> {
        self.lost.into_inner()
    }

    /// True if an arrival's line is short, and so needs the key to it.
    pub(super) fn has_narrow_lines(&self) -> bool {
        layout::is_narrow(self.style())
    }

    /// Begins to draw the sites, where there is a terminal.
    pub(super) fn begin_live(&mut self) {
        self.live = self.is_drawable.then(Live::default);
    }

    /// Stops drawing; the last picture goes.
    pub(super) fn end_live(&mut self) {
        let columns = self.columns();
        if let Some(mut live) = self.live.take() {
            let erased = live.frame.redraw(None, &[], columns);
            self.put(&erased);
        }
    }

    /// Says something, above everything that is drawn.
    pub(super) fn say(&mut self, text: &str) {
        let columns = self.columns();
        let out = match &mut self.live {
            Some(live) => live
                .frame
                .redraw(Some(&text.replace('\n', "\r\n")), &live.lines, columns),
            None => format!("{text}\n"),
        };
        self.put(&out);
    }

    /// Says a line about a request; of the first one everything.
    pub(super) fn show(&mut self, arrival: &Arrival) {
        let style = self.style();
        self.say(&layout::arrival_line(arrival, style));
        if !self.has_shown_whole {
            self.has_shown_whole = true;
            let whole = layout::whole_request(&arrival.whole, style);
            self.say(&format!("\n  This is the whole request:\n\n{whole}\n"));
        }
    }

    /// Shows the traffic: draws it on a terminal; elsewhere says it if `is_said`.
    pub(super) fn show_traffic(
        &mut self,
        now: &TrafficSnapshot,
        thresholds: &Thresholds,
        tally: &ArrivalTally,
        speed: f64,
        is_said: bool,
    ) {
        let (style, columns) = (self.style(), self.columns());
        let Some(live) = &mut self.live else {
            if is_said {
                self.say(&layout::snapshot_line(now, thresholds));
            }
            return;
        };
        for (counts, visitors) in live.counts.iter_mut().zip(now.visitors) {
            counts.push(visitors);
            if counts.len() > PICTURE {
                counts.remove(0);
            }
        }
        live.lines = layout::live_lines(now, &live.counts, thresholds, tally, speed, style);
        let drawn = live.frame.redraw(None, &live.lines, columns);
        self.put(&drawn);
    }

    fn put(&self, text: &str) {
        if let Err(lost) = write(text.as_bytes()) {
            // Later ones have the same cause.
            drop(self.lost.set(lost));
        }
    }

    fn style(&self) -> Style {
        Style {
            width: self.is_drawable.then(|| self.columns()),
            colours: self.colours,
        }
    }

    /// Columns of the terminal, asked each time: it may be resized at any moment.
    fn columns(&self) -> usize {
        match terminal_size::terminal_size_of(io::stdout()) {
            Some((width, _)) if width.0 > 0 => usize::from(width.0),
            _ => USUAL_COLUMNS,
        }
    }
}
