//! Random bytes from the operating system, for keys, nonces, secrets, tokens and ids.

use rand::TryRng as _;
use rand::rngs::SysRng;

/// `N` unpredictable bytes.
///
/// # Panics
/// When the operating system has none: nothing secret can be made then, and going on would be worse.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).expect("the operating system gives random bytes");
    bytes
}
