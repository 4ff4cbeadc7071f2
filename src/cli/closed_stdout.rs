//! Notices that stdout is closed (`>&-`). Before `main` the standard library opens `/dev/null` in
//! its place, after which every write succeeds and nobody reads it, so it is looked at earlier.

#![expect(
    unsafe_code,
    reason = "nothing safe runs before the standard library has replaced what is closed"
)]

use std::sync::atomic::{AtomicBool, Ordering};

static IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// True if the process was started without a stdout. Only Linux tells.
pub(super) fn is_closed() -> bool {
    IS_CLOSED.load(Ordering::Relaxed)
}

/// The loader calls what stands in this section before it starts the program (System V ABI,
/// "Initialization and Termination Functions").
#[cfg(target_os = "linux")]
#[used]
// SAFETY: the section holds pointers to functions that may be called without arguments.
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

#[cfg(target_os = "linux")]
extern "C" fn look() {
    // SAFETY: the call takes no pointer and changes nothing.
    let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
    IS_CLOSED.store(flags == -1, Ordering::Relaxed);
}
