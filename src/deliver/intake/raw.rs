//! Records as they come, read where they can be.

use bytes::Bytes;
use rdkafka::Message as _;
use rdkafka::message::BorrowedMessage;

use crate::clock;
use crate::dispatch::record::{DeliveryRecord, Unreadable, header};
use crate::kafka::batch_reader;
use crate::kafka::producer::RawHeader;

/// A record taken out of librdkafka's memory.
pub(super) struct Raw {
    pub(super) offset: i64,
    pub(super) timestamp_ms: i64,
    pub(super) record: Result<DeliveryRecord, (Unreadable, Original)>,
}

/// A record that cannot be read, as it came.
pub(super) struct Original {
    pub(super) key: Option<Vec<u8>>,
    pub(super) body: Option<Bytes>,
    pub(super) headers: Vec<RawHeader>,
}

impl Raw {
    pub(super) fn of(message: &BorrowedMessage<'_>) -> Self {
        Self {
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or_else(clock::now_ms),
            record: decode(message).map_err(|unreadable| (unreadable, Original::of(message))),
        }
    }
}

impl Original {
    pub(super) fn of(message: &BorrowedMessage<'_>) -> Self {
        Self {
            key: message.key().map(<[u8]>::to_vec),
            body: message.payload().map(Bytes::copy_from_slice),
            headers: batch_reader::headers(message)
                .into_iter()
                .map(|(name, value)| {
                    let name = String::from_utf8_lossy(name).into_owned();
                    (name, value.map(<[u8]>::to_vec))
                })
                .collect(),
        }
    }
}

fn decode(message: &BorrowedMessage<'_>) -> Result<DeliveryRecord, Unreadable> {
    // A header whose name is no text is none of ours.
    let headers = batch_reader::headers(message)
        .into_iter()
        .filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, value)));
    let record = DeliveryRecord::decode(
        message.key(),
        headers,
        message.payload().map(Bytes::copy_from_slice),
    )?;
    // The dead letter of what was never sent, copied back by hand, asks for no attempt.
    if record.attempt == 0 {
        return Err(Unreadable::BadHeader(header::ATTEMPT));
    }
    Ok(record)
}
