//! Form in which a record that could not be read goes to the rejected topic.

use bytes::Bytes;

use crate::dispatch::record::{Coordinates, header};
use crate::domain::reject::Reject;

/// Most bytes kept of a rejected record's value.
const MAX_VALUE_BYTES: usize = 64 * 1_024;
/// Less than so much of a value is no help to anybody.
const MIN_VALUE_BYTES: usize = 256;
/// Most bytes kept of its key.
const MAX_KEY_BYTES: usize = 1_024;

/// Header that names the field at fault.
const FIELD: &str = "bw-field";
/// Header with one line of explanation.
const DETAIL: &str = "bw-detail";

/// Key, value and headers of a record on the rejected topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RejectRecord {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Bytes,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl RejectRecord {
    /// Cuts key and value to less; returns false if nothing is left to cut.
    pub(crate) fn cut(&mut self) -> bool {
        let bytes = self.value.len();
        let key_bytes = self.key.as_ref().map_or(0, Vec::len);
        if bytes == 0 && key_bytes == 0 {
            return false;
        }
        if !self.headers.iter().any(|(name, _)| *name == header::TRUNCATED) {
            self.headers.push((header::TRUNCATED, bytes.to_string()));
        }
        if bytes == 0 {
            self.key = None;
        } else {
            let kept = bytes / 4;
            self.value.truncate(if kept < MIN_VALUE_BYTES { 0 } else { kept });
        }
        true
    }
}

/// Makes the record for the rejected topic from one that could not be read.
pub(crate) fn reject_record(
    reject: &Reject,
    read_from: &Coordinates,
    key: Option<&[u8]>,
    value: &[u8],
) -> RejectRecord {
    let mut headers = vec![
        (header::VERSION, crate::dispatch::record::VERSION.to_string()),
        (header::REASON, reject.reason.as_str().to_owned()),
    ];
    if let Some(field) = reject.field {
        headers.push((FIELD, field.to_owned()));
    }
    headers.push((DETAIL, reject.detail.clone()));
    headers.extend(read_from.headers());
    if value.len() > MAX_VALUE_BYTES {
        headers.push((header::TRUNCATED, value.len().to_string()));
    }
    RejectRecord {
        key: key.map(|key| key[..key.len().min(MAX_KEY_BYTES)].to_vec()),
        value: Bytes::copy_from_slice(&value[..value.len().min(MAX_VALUE_BYTES)]),
        headers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::reject::RejectReason;

    #[test]
    fn a_record_is_cut_until_nothing_is_left() {
        let mut record = RejectRecord {
            key: Some(b"k".to_vec()),
            value: vec![b'x'; 65_536].into(),
            headers: Vec::new(),
        };
        let mut sizes = Vec::new();
        while record.cut() {
            sizes.push(record.value.len());
        }
        assert_eq!(sizes, [16_384, 4_096, 1_024, 256, 0, 0]);
        assert_eq!(record.key, None);
        assert_eq!(record.headers, [(header::TRUNCATED, "65536".to_owned())]);
    }

    #[test]
    fn a_large_record_is_cut_and_says_so() {
        let reject = Reject {
            reason: RejectReason::TooLarge,
            field: None,
            detail: "too large".into(),
            site_id: None,
        };
        let read_from = Coordinates {
            topic: "t".into(),
            partition: 3,
            offset: 17,
        };
        let record = reject_record(&reject, &read_from, Some(b"k"), &vec![b'x'; 70_000]);
        assert_eq!(record.value.len(), 65_536);
        assert!(record.headers.contains(&(header::TRUNCATED, "70000".to_owned())));
        assert!(record.headers.contains(&("bw-original-offset", "17".to_owned())));
        let whole = reject_record(&reject, &read_from, None, b"short");
        assert!(!whole.headers.iter().any(|(name, _)| *name == header::TRUNCATED));
    }
}
