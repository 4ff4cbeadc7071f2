//! Faults: chance that can be had again, and a wire that can be cut.

use std::time::{SystemTime, UNIX_EPOCH};

/// Numbers that look random and come again for the same seed (SplitMix64).
pub(crate) struct Dice(u64);

impl Dice {
    /// The seed in the variable `name`, else one that differs from run to run. It is printed, to be given back.
    pub(crate) fn from_env(name: &str) -> Self {
        let seed = std::env::var(name)
            .ok()
            .map(|text| text.parse().expect("a number"))
            .unwrap_or_else(|| {
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap()
                    .subsec_nanos()
                    .into()
            });
        println!("{name}={seed}");
        Self(seed)
    }

    /// A number in `0..end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }
}
