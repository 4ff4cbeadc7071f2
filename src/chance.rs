//! The process's random numbers: for keys, nonces, secrets, tokens, ids and jitter. Modules that
//! decide take them as arguments, so that tests repeat them.

use rand::TryRng as _;
use rand::rngs::SysRng;

/// `N` unpredictable bytes.
///
/// # Panics
/// When the operating system has none: nothing secret can be made then, and going on would be
/// worse.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SysRng
        .try_fill_bytes(&mut bytes)
        .expect("the operating system gives random bytes");
    bytes
}

/// A number in `0.0..1.0`.
pub(crate) fn fraction() -> f64 {
    // 53 bits are the mantissa of a double.
    (u64::from_le_bytes(bytes()) >> 11) as f64 / (1_u64 << 53) as f64
}
