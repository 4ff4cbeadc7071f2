//! The end of the process.

#![expect(
    unsafe_code,
    reason = "the standard library has no way to end that runs nothing else"
)]

use std::io::Write as _;

/// Ends the process at once, after what was written to stdout.
///
/// An ordinary exit frees what OpenSSL shares, while threads of librdkafka may still use it: one in
/// a hundred commands that failed at a broker's certificate ended with a segmentation fault.
pub(crate) fn end_process(code: u8) -> ! {
    // Nobody is left to hear that it fails.
    drop(std::io::stdout().flush());
    // SAFETY: it takes no pointer and does not return.
    unsafe { libc::_exit(i32::from(code)) }
}
