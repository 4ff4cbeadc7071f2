//! The detector against an oracle and against crashes, with nothing running.

pub(crate) mod fixtures;
mod crash;
mod activity;
mod clocks;
mod copies;
mod drops;
mod log_ticks;
mod live;
mod live_drops;
mod live_restarts;
mod stored_states;
mod edits;
mod lacking;
mod episodes;
mod extremes;
mod renames;
mod registrations;
mod peaks;
mod handovers;
mod silences;
mod source_silences;
mod two_sources;
mod oracle;
