//! Sources that deliver nothing though they should: their sites are held back for a while.

/// Longest time in seconds for which the sites of a silent source are held back.
pub(super) const HELD_BACK_SECONDS: u32 = 900;

/// The silence of each source.
#[derive(Debug, Clone)]
pub(super) struct SilentSources(Box<[SilentSource]>);

#[derive(Debug, Clone, Copy, Default)]
struct SilentSource {
    is_silent: bool,
    /// Last second at which it was silent.
    until: u32,
}

impl SilentSources {
    pub(super) fn new(sources: usize) -> Self {
        Self(vec![SilentSource::default(); sources].into_boxed_slice())
    }

    pub(super) fn set(&mut self, silent: &[bool]) {
        for (source, is_silent) in self.0.iter_mut().zip(silent) {
            source.is_silent = *is_silent;
        }
    }

    pub(super) fn is_silent(&self, source: usize) -> bool {
        self.0.get(source).is_some_and(|source| source.is_silent)
    }

    /// Notes the second up to which the wall clock moves the sites of other sources.
    pub(super) fn note_floor(&mut self, floor: u32) {
        for source in self.0.iter_mut().filter(|source| source.is_silent) {
            source.until = source.until.max(floor);
        }
    }

    /// Last second at which a source was silent; 0 if it never was.
    pub(super) fn until(&self, source: usize) -> u32 {
        self.0.get(source).map_or(0, |source| source.until)
    }
}
