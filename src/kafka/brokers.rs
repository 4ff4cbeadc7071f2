//! Clients that know no broker any more, and get those of the configuration again.
//!
//! A broker that the cluster takes for dead, as after a long pause or in a rolling upgrade, may
//! answer that there are no brokers. librdkafka then drops all that it knows and has nobody left to
//! ask, not even those that it was configured with: such a client reads and publishes nothing until
//! its process ends (librdkafka's issue 5301, open in version 2.16).
//!
//! And brokers that refuse connections: librdkafka's admin requests wait for one certain broker, by
//! default the controller, and each refusal has it tried again at once, thousands of times a second
//! for as long as the request lasts. So they are sent only when [`answering_broker`] has found one.

#![expect(
    unsafe_code,
    reason = "librdkafka's function has no safe form; the block says why it is sound"
)]

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka_sys as sys;

/// Longest wait of a look. A client that has a broker only begins to ask it.
const LOOK_TIMEOUT: Duration = Duration::from_millis(1);
/// Looks in a row without a broker from which on a client lacks one: a connection that was closed
/// is made again sooner.
const LACKING_LOOKS: u32 = 2;

/// A process's clients that are looked after. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct KeptClients(Arc<Mutex<Clients>>);

#[derive(Default)]
struct Clients {
    by_number: BTreeMap<u64, Kept>,
    next: u64,
}

struct Kept {
    client: Box<dyn KeptClient>,
    /// Looks in a row at which it had no broker.
    without_broker: u32,
}

/// Keeps a client among those that are looked after, until it is dropped. That comes before the
/// client's end, so that a look never holds its last reference.
#[must_use]
pub(crate) struct Keeping {
    clients: KeptClients,
    number: u64,
}

/// Client that may be left without brokers.
pub(super) trait KeptClient: Send {
    /// True if there is a broker that can be asked.
    fn has_broker(&self) -> bool;
    /// Adds brokers, in the form of `kafka.brokers`.
    fn add_brokers(&self, brokers: &str);
}

impl KeptClients {
    /// Looks after a consumer that reads `topic`.
    pub(super) fn keep_consumer<C: ConsumerContext + 'static>(
        &self,
        consumer: &Arc<BaseConsumer<C>>,
        topic: &str,
    ) -> Keeping {
        self.keep(Box::new(KeptConsumer {
            consumer: Arc::clone(consumer),
            topic: topic.to_owned(),
        }))
    }

    pub(super) fn keep(&self, client: Box<dyn KeptClient>) -> Keeping {
        let mut clients = self.lock();
        let number = clients.next;
        clients.next += 1;
        clients.by_number.insert(
            number,
            Kept {
                client,
                without_broker: 0,
            },
        );
        Keeping {
            clients: self.clone(),
            number,
        }
    }

    /// Looks at each client, and says if one lacks brokers. May take a millisecond for each.
    pub(crate) fn look(&self) -> bool {
        let mut any = false;
        for kept in self.lock().by_number.values_mut() {
            kept.without_broker = match kept.client.has_broker() {
                true => 0,
                false => kept.without_broker + 1,
            };
            any |= kept.lacks_brokers();
        }
        any
    }

    /// Gives `brokers` to the clients that lacked some when they were looked at, and returns their
    /// number. librdkafka keeps each list for as long as the client lives, so this is for when
    /// brokers are known to answer.
    pub(crate) fn give(&self, brokers: &str) -> usize {
        let mut clients = self.lock();
        let lacking = clients.by_number.values_mut().filter(|kept| kept.lacks_brokers());
        lacking
            .map(|kept| {
                kept.client.add_brokers(brokers);
                kept.without_broker = 0;
            })
            .count()
    }

    fn lock(&self) -> MutexGuard<'_, Clients> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn lacks_brokers(&self) -> bool {
        self.without_broker >= LACKING_LOOKS
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        let kept = self.clients.lock().by_number.remove(&self.number);
        // After the lock is free: it may be the last reference after all.
        drop(kept);
    }
}

struct KeptConsumer<C: ConsumerContext + 'static> {
    consumer: Arc<BaseConsumer<C>>,
    topic: String,
}

impl<C: ConsumerContext + 'static> KeptClient for KeptConsumer<C> {
    fn has_broker(&self) -> bool {
        has_broker(self.consumer.client(), &self.topic)
    }

    fn add_brokers(&self, brokers: &str) {
        add_brokers(self.consumer.client(), brokers);
    }
}

/// Asks for a topic that the client uses anyway, without waiting for the answer.
pub(super) fn has_broker<C: ClientContext>(client: &Client<C>, topic: &str) -> bool {
    let answer = client.fetch_metadata(Some(topic), LOOK_TIMEOUT);
    let code = answer.err().as_ref().and_then(KafkaError::rdkafka_error_code);
    code != Some(RDKafkaErrorCode::BrokerTransportFailure)
}

/// Asks any broker for a topic, or for all, and returns the id of the one that has answered: an
/// admin request can go to it at once. `None` if only its configured address is known. A producer
/// is to ask for all topics, since asking for one may make it.
pub(super) fn answering_broker<C: ClientContext>(
    client: &Client<C>,
    topic: Option<&str>,
    within: Duration,
) -> KafkaResult<Option<i32>> {
    let metadata = client.fetch_metadata(topic, within)?;
    Ok(Some(metadata.orig_broker_id()).filter(|id| *id >= 0))
}

/// Adds brokers to those that a client may ask.
pub(super) fn add_brokers<C: ClientContext>(client: &Client<C>, brokers: &str) {
    let Ok(brokers) = CString::new(brokers) else {
        return;
    };
    // SAFETY: client and text are alive during the call, which copies the text.
    unsafe { sys::rd_kafka_brokers_add(client.native_ptr(), brokers.as_ptr()) };
}

impl fmt::Debug for KeptClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptClients").finish_non_exhaustive()
    }
}

impl fmt::Debug for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeping").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    #[derive(Clone, Default)]
    struct Fake {
        has_broker: Arc<AtomicBool>,
        given: Arc<AtomicUsize>,
    }

    impl KeptClient for Fake {
        fn has_broker(&self) -> bool {
            self.has_broker.load(Ordering::Relaxed)
        }

        fn add_brokers(&self, _brokers: &str) {
            self.given.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_clients_without_brokers_at_two_looks_are_given_some() {
        let clients = KeptClients::default();
        let (lost, whole) = (Fake::default(), Fake::default());
        whole.has_broker.store(true, Ordering::Relaxed);
        let keeping = [&lost, &whole].map(|one| clients.keep(Box::new(one.clone())));
        assert!(!clients.look(), "once may be a connection that is made");
        assert_eq!(clients.give("a:1"), 0);
        assert!(clients.look());
        assert_eq!(clients.give("a:1"), 1);
        assert_eq!(clients.give("a:1"), 0, "given once for what was seen");
        assert!(!clients.look(), "it is given time to connect");
        lost.has_broker.store(true, Ordering::Relaxed);
        assert!(!clients.look());
        let given = [&lost, &whole].map(|one| one.given.load(Ordering::Relaxed));
        assert_eq!(given, [1, 0]);
        lost.has_broker.store(false, Ordering::Relaxed);
        assert!(!clients.look());
        drop(keeping);
        assert!(!clients.look(), "whose clients have ended is not looked at");
    }
}
