//! Sites whose source delivers nothing though it should: their clocks are held back for a while, so
//! that no drop is decided by the silence of a whole source.

/// Longest time in seconds for which the sites of a silent source are held back.
pub(super) const HELD_BACK_SECONDS: u32 = 900;

/// The silence of each source.
#[derive(Debug, Clone)]
pub(super) struct SilentSources(Box<[SilentSource]>);

#[derive(Debug, Clone, Copy, Default)]
struct SilentSource {
    /// Time of its last record, in milliseconds since the Unix epoch, while it is silent.
    since_ms: Option<i64>,
    /// Last second at which it was silent.
    until: u32,
}

impl SilentSources {
    pub(super) fn new(sources: usize) -> Self {
        Self(vec![SilentSource::default(); sources].into_boxed_slice())
    }

    pub(super) fn set(&mut self, silent_since_ms: &[Option<i64>]) {
        for (source, since_ms) in self.0.iter_mut().zip(silent_since_ms) {
            source.since_ms = *since_ms;
        }
    }

    pub(super) fn is_silent(&self, source: usize) -> bool {
        self.since_ms(source).is_some()
    }

    /// Time of a source's last record, in milliseconds since the Unix epoch, while it is silent.
    pub(super) fn since_ms(&self, source: usize) -> Option<i64> {
        self.0.get(source)?.since_ms
    }

    /// Notes the second up to which the wall clock moves the sites of other sources.
    pub(super) fn note_floor(&mut self, floor: u32) {
        for source in self.0.iter_mut().filter(|source| source.since_ms.is_some()) {
            source.until = source.until.max(floor);
        }
    }

    /// Last second at which a source was silent; 0 if it never was.
    pub(super) fn until(&self, source: usize) -> u32 {
        self.0.get(source).map_or(0, |source| source.until)
    }
}
