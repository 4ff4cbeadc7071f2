//! Faults: chance that can be had again, and a wire that can be cut.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::kafka;

/// Numbers that look random and come again for the same seed (SplitMix64).
pub(crate) struct Dice(u64);

impl Dice {
    /// The seed in the variable `name`, else one that differs from run to run. It is printed, to be
    /// given back.
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

/// How a wire is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    /// Connections end at once, those there were and those that are made.
    Cut,
    /// Nobody listens, and those there were end. It stays so.
    Refused,
    /// Connections stay, new ones are taken, and nothing passes. What was connected stays silent
    /// after that.
    Silent,
}

/// What a wire that is whole does to what passes.
#[derive(Default)]
struct Faults {
    /// A text in requests, whose answers are held back.
    held_back: Mutex<Option<String>>,
    hides_brokers: AtomicBool,
    /// A topic and a partition of it whose leader is named in no answer.
    leaderless: Mutex<Option<(String, i32)>>,
    refuses_producing: AtomicBool,
    /// Milliseconds by which each answer is late: the least, and the most.
    late_ms: Mutex<(u64, u64)>,
    late_answers: AtomicU64,
}

impl Faults {
    /// The delay of the next answer: one after the other from the least to the most.
    fn next_delay(&self) -> Duration {
        let (least, most) = *self.late_ms.lock().unwrap();
        if most == 0 {
            return Duration::ZERO;
        }
        let step = self.late_answers.fetch_add(1, Ordering::SeqCst) % 5;
        Duration::from_millis(least + (most - least) * step / 4)
    }
}

/// Stands between the service and a server, on a port of its own.
pub(crate) struct Wire {
    port: u16,
    state: watch::Sender<State>,
    faults: Arc<Faults>,
    /// Ends with the wire.
    _carrying: JoinSet<()>,
}

impl Wire {
    /// To the test's Postgres.
    pub(crate) async fn to_postgres() -> Self {
        let server = std::env::var("BELLWETHER_POSTGRES__URL").unwrap();
        let server = url::Url::parse(&server).unwrap();
        Self::to(
            *server.socket_addrs(|| Some(5432)).unwrap().first().unwrap(),
            false,
        )
        .await
    }

    /// To the test's Kafka. Its answers tell clients where the broker is: here.
    pub(crate) async fn to_kafka() -> Self {
        Self::to(kafka::brokers().parse().unwrap(), true).await
    }

    async fn to(server: SocketAddr, is_kafka: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, state) = watch::channel(State::Whole);
        let mut carrying = JoinSet::new();
        let faults = Arc::new(Faults::default());
        let shared = Arc::clone(&faults);
        carrying.spawn(async move {
            let mut connections = JoinSet::new();
            let mut watched = state.clone();
            loop {
                let near = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    _ = watched.wait_for(|state| *state == State::Refused) => break,
                };
                let moved = is_kafka.then(|| Moved::new(server.port(), port));
                connections.spawn(carry(near, server, moved, state.clone(), Arc::clone(&shared)));
            }
            drop(listener);
            connections.join_all().await;
        });
        Self {
            port,
            state: sender,
            faults,
            _carrying: carrying,
        }
    }

    /// `host:port` of this end.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A server's URL as it is from here.
    pub(crate) fn url(&self, server: &str) -> String {
        let mut url = url::Url::parse(server).unwrap();
        url.set_port(Some(self.port)).unwrap();
        url.into()
    }

    /// From now on a server's answers stay here on every connection that has asked for something in
    /// which `text` occurs. What is asked for passes.
    pub(crate) fn hold_answers_to(&self, text: &str) {
        *self.faults.held_back.lock().unwrap() = Some(text.to_owned());
    }

    /// From now on the cluster's answers name no broker, as those of one that it takes for dead.
    pub(crate) fn hide_brokers(&self, is_hidden: bool) {
        self.faults.hides_brokers.store(is_hidden, Ordering::SeqCst);
    }

    /// From now on Kafka takes no record: a connection that brings one ends.
    pub(crate) fn refuse_producing(&self, is_refused: bool) {
        self.faults.refuses_producing.store(is_refused, Ordering::SeqCst);
    }

    /// From now on each answer of the server is late, by at least and at most so much.
    pub(crate) fn delay_answers(&self, least: Duration, most: Duration) {
        *self.faults.late_ms.lock().unwrap() = (least.as_millis() as u64, most.as_millis() as u64);
    }

    /// From now on the cluster's answers name no leader of a partition, or again that of all.
    pub(crate) fn take_leader(&self, lost: Option<(&str, i32)>) {
        let lost = lost.map(|(topic, partition)| (topic.to_owned(), partition));
        *self.faults.leaderless.lock().unwrap() = lost;
    }

    pub(crate) fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// From now on nobody listens here any more.
    pub(crate) fn refuse(&self) {
        self.state.send_replace(State::Refused);
    }

    pub(crate) fn silence(&self) {
        self.state.send_replace(State::Silent);
    }

    /// New connections work again; those that fell silent never do.
    pub(crate) fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

/// A broker's address in its answers, and the one to put in its place: as long, so no length
/// changes.
#[derive(Clone)]
struct Moved {
    from: [u8; 13],
    to: [u8; 13],
}

/// Bytes of a partition in an answer about topics: an error, its number, its leader, the leader's
/// epoch, its replicas, those in sync, those offline, tags.
const PARTITION: usize = 26;

/// Bytes of an answer before what it says: its length, its number, tags and the time to wait.
const ANSWER_HEAD: usize = 13;

impl Moved {
    fn new(from: u16, to: u16) -> Self {
        let address = |port: u16| {
            let mut bytes = *b"127.0.0.1\0\0\0\0";
            bytes[9..].copy_from_slice(&u32::from(port).to_be_bytes());
            bytes
        };
        Self {
            from: address(from),
            to: address(to),
        }
    }

    /// Takes the only broker out of a whole answer about the cluster.
    fn hide_broker(&self, answer: &mut Vec<u8>) {
        // A list of one: its id, the length of its host's name, host and port, no rack, no tags.
        let (host, end) = (ANSWER_HEAD + 6, ANSWER_HEAD + 21);
        let is_one = answer.len() > end
            && answer[ANSWER_HEAD] == 2
            && answer[host - 1] == 10
            && answer[host..host + 13] == self.to;
        if is_one {
            answer.splice(ANSWER_HEAD..end, [1]);
            let length = u32::try_from(answer.len() - 4).unwrap();
            answer[..4].copy_from_slice(&length.to_be_bytes());
        }
    }

    /// Takes the leader of a partition out of an answer about topics.
    fn hide_leader(answer: &mut [u8], (topic, partition): &(String, i32)) {
        // The length of a name counts from one, as those of lists do.
        let name = [&[topic.len() as u8 + 1], topic.as_bytes()].concat();
        let ends = answer.windows(name.len()).enumerate();
        let ends = ends
            .filter(|(_, part)| *part == name)
            .map(|(at, _)| at + name.len());
        for end in ends.collect::<Vec<_>>() {
            // The topic's id, and if it is an internal one.
            let list = end + 17;
            let count = answer.get(list).copied().unwrap_or(1).saturating_sub(1);
            let start = list + 1;
            let Some(partitions) = answer.get_mut(start..start + usize::from(count) * PARTITION) else {
                continue;
            };
            // With one replica that is in sync, and none offline.
            let mut all = partitions.chunks_exact(PARTITION);
            if !all.all(|one| (one[14], one[19], one[24], one[25]) == (2, 2, 1, 0)) {
                continue;
            }
            for one in partitions.chunks_exact_mut(PARTITION) {
                if one[2..6] == partition.to_be_bytes() {
                    one[..2].copy_from_slice(&5_i16.to_be_bytes());
                    one[6..10].copy_from_slice(&(-1_i32).to_be_bytes());
                }
            }
        }
    }

    fn apply(&self, bytes: &mut [u8]) {
        let mut at = 0;
        while at + 13 <= bytes.len() {
            if bytes[at..at + 13] == self.from {
                bytes[at..at + 13].copy_from_slice(&self.to);
            }
            at += 1;
        }
    }
}

async fn carry(
    mut near: TcpStream,
    server: SocketAddr,
    moved: Option<Moved>,
    mut state: watch::Receiver<State>,
    faults: Arc<Faults>,
) {
    let now = *state.borrow();
    match now {
        State::Cut | State::Refused => return,
        State::Silent => {}
        State::Whole => {
            let Ok(mut far) = TcpStream::connect(server).await else {
                return;
            };
            near.set_nodelay(true).unwrap();
            far.set_nodelay(true).unwrap();
            let (mut from_near, mut to_near) = near.split();
            let (mut from_far, mut to_far) = far.split();
            let is_held = AtomicBool::new(false);
            let fallen = tokio::select! {
                () = ask(&mut from_near, &mut to_far, moved.is_some(), &faults, &is_held) => None,
                () = answer(&mut from_far, &mut to_near, moved, &faults, &is_held) => None,
                fallen = state.wait_for(|state| *state != State::Whole) => fallen.ok().map(|state| *state),
            };
            if fallen != Some(State::Silent) {
                return;
            }
            // Both ends stay open: who has written waits for an answer.
            drop(state.wait_for(|state| *state == State::Cut).await);
            return;
        }
    }
    drop(state.wait_for(|state| *state == State::Cut).await);
}

/// Number of Kafka's request that brings records.
const PRODUCE: [u8; 2] = [0, 0];

/// Carries what a client says, and marks the connection once it has asked for what is held back.
async fn ask(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    is_kafka: bool,
    faults: &Faults,
    is_held: &AtomicBool,
) {
    while let Ok(request) = read(from, is_kafka).await {
        let is_refused = is_kafka && faults.refuses_producing.load(Ordering::SeqCst);
        if request.is_empty() || (is_refused && request[4..6] == PRODUCE) {
            return;
        }
        let text = faults.held_back.lock().unwrap().clone();
        let is_asked = |text: String| request.windows(text.len()).any(|part| part == text.as_bytes());
        if text.is_some_and(is_asked) {
            is_held.store(true, Ordering::SeqCst);
        }
        if to.write_all(&request).await.is_err() {
            return;
        }
    }
}

/// Carries what a server says.
async fn answer(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    moved: Option<Moved>,
    faults: &Faults,
    is_held: &AtomicBool,
) {
    while let Ok(mut bytes) = read(from, moved.is_some()).await {
        if let Some(moved) = &moved {
            moved.apply(&mut bytes[4..]);
            if faults.hides_brokers.load(Ordering::SeqCst) {
                moved.hide_broker(&mut bytes);
            }
            if let Some(lost) = &*faults.leaderless.lock().unwrap() {
                Moved::hide_leader(&mut bytes, lost);
            }
        }
        tokio::time::sleep(faults.next_delay()).await;
        if is_held.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if bytes.is_empty() || to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// Reads what there is, or a frame of Kafka's with its length.
async fn read(from: &mut (impl AsyncRead + Unpin), is_kafka: bool) -> std::io::Result<Vec<u8>> {
    if !is_kafka {
        let mut buffer = vec![0; 256 * 1024];
        let length = from.read(&mut buffer).await?;
        buffer.truncate(length);
        return Ok(buffer);
    }
    let length = from.read_u32().await?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.resize(4 + length as usize, 0);
    from.read_exact(&mut bytes[4..]).await?;
    Ok(bytes)
}
