//! Headers of a record, whatever bytes their names are.

#![expect(
    unsafe_code,
    reason = "librdkafka's C functions; each block says why it is sound"
)]

use std::ffi::{CStr, c_void};
use std::ptr;

use rdkafka::error::IsError as _;
use rdkafka::message::BorrowedMessage;
use rdkafka_sys as sys;

/// Reads the names and values of a record's headers. `rdkafka` panics over a name that is not
/// UTF-8, and any producer may write one.
pub(crate) fn read<'a>(message: &'a BorrowedMessage<'_>) -> Vec<(&'a [u8], Option<&'a [u8]>)> {
    // SAFETY: the message is alive for 'a.
    unsafe { read_raw(message.ptr()) }
}

/// [`read`] for a message of librdkafka's.
///
/// # Safety
/// The message is alive for `'a` and holds a record.
pub(super) unsafe fn read_raw<'a>(
    message: *const sys::rd_kafka_message_t,
) -> Vec<(&'a [u8], Option<&'a [u8]>)> {
    let mut found = Vec::new();
    let mut headers = ptr::null_mut();
    // SAFETY: the message is alive and owns its headers. Of each, librdkafka gives a name that ends
    // with NUL, and pointer and length of a value, or null; all of it lives as long as the message.
    unsafe {
        if sys::rd_kafka_message_headers(message, &raw mut headers).is_error() {
            return found;
        }
        loop {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            let error = sys::rd_kafka_header_get_all(
                headers,
                found.len(),
                &raw mut name,
                &raw mut value,
                &raw mut size,
            );
            if error.is_error() {
                return found;
            }
            found.push((CStr::from_ptr(name).to_bytes(), bytes(value, size)));
        }
    }
}

/// Bytes that librdkafka points to, or `None` for a null pointer.
///
/// # Safety
/// `start` is null or points to `len` bytes that live for `'a`.
pub(super) unsafe fn bytes<'a>(start: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller promises.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) })
}
