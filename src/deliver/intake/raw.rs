//! Records as they were read, decoded if they can be.

use bytes::Bytes;
use rdkafka::Message as _;
use rdkafka::message::BorrowedMessage;

use crate::dispatch::record::{DeliveryRecord, Unreadable, header};
use crate::kafka::headers;
use crate::kafka::producer::outgoing::RawHeader;

/// A record copied out of librdkafka's memory.
pub(super) struct IntakeRecord {
    pub(super) offset: i64,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) decoded: Result<DeliveryRecord, (Unreadable, OriginalRecord)>,
}

/// Content of a record that cannot be decoded.
pub(super) struct OriginalRecord {
    pub(super) key: Option<Vec<u8>>,
    pub(super) body: Option<Bytes>,
    pub(super) headers: Vec<RawHeader>,
}

impl IntakeRecord {
    /// True if a newer version of this program wrote the record.
    pub(super) fn is_newer(&self) -> bool {
        matches!(&self.decoded, Err((unreadable, _)) if unreadable.is_newer())
    }
}

impl From<&BorrowedMessage<'_>> for IntakeRecord {
    fn from(message: &BorrowedMessage<'_>) -> Self {
        Self {
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            decoded: decode(message).map_err(|unreadable| (unreadable, OriginalRecord::from(message))),
        }
    }
}

impl From<&BorrowedMessage<'_>> for OriginalRecord {
    fn from(message: &BorrowedMessage<'_>) -> Self {
        let headers = headers::read(message).into_iter().map(|(name, value)| {
            let name = String::from_utf8_lossy(name).into_owned();
            (name, value.map(<[u8]>::to_vec))
        });
        Self {
            key: message.key().map(<[u8]>::to_vec),
            body: message.payload().map(Bytes::copy_from_slice),
            headers: headers.collect(),
        }
    }
}

fn decode(message: &BorrowedMessage<'_>) -> Result<DeliveryRecord, Unreadable> {
    // A header whose name is not UTF-8 is none of Bellwether's.
    let headers = headers::read(message)
        .into_iter()
        .filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, value)));
    let record = DeliveryRecord::decode(
        message.key(),
        headers,
        message.payload().map(Bytes::copy_from_slice),
    )?;
    // A dead letter of a delivery that was never sent, copied back by hand, asks for no attempt.
    if record.attempt == 0 {
        return Err(Unreadable::BadHeader(header::ATTEMPT));
    }
    Ok(record)
}
