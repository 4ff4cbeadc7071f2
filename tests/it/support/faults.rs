//! Faults: chance that can be had again, and a wire that can be cut.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

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
    /// Connections stay, new ones are taken, and nothing passes. What was connected stays silent
    /// after that.
    Silent,
}

/// Stands between the service and a server, on a port of its own.
pub(crate) struct Wire {
    port: u16,
    state: watch::Sender<State>,
    held_back: HeldBack,
    hides_brokers: Arc<AtomicBool>,
    leaderless: Leaderless,
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
        let held_back = HeldBack::default();
        let held = Arc::clone(&held_back);
        let hides_brokers = Arc::new(AtomicBool::new(false));
        let leaderless = Leaderless::default();
        let (hides, lost) = (Arc::clone(&hides_brokers), Arc::clone(&leaderless));
        carrying.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let near = listener.accept().await.unwrap().0;
                let moved =
                    is_kafka.then(|| Moved::new(server.port(), port, Arc::clone(&hides), Arc::clone(&lost)));
                connections.spawn(carry(near, server, moved, state.clone(), Arc::clone(&held)));
            }
        });
        Self {
            port,
            state: sender,
            held_back,
            hides_brokers,
            leaderless,
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
        *self.held_back.lock().unwrap() = Some(text.to_owned());
    }

    /// From now on the cluster's answers name no broker, as those of one that it takes for dead.
    pub(crate) fn hide_brokers(&self, is_hidden: bool) {
        self.hides_brokers.store(is_hidden, Ordering::SeqCst);
    }

    /// From now on the cluster's answers name no leader of a partition, or again that of all.
    pub(crate) fn take_leader(&self, lost: Option<(&str, i32)>) {
        let lost = lost.map(|(topic, partition)| (topic.to_owned(), partition));
        *self.leaderless.lock().unwrap() = lost;
    }

    pub(crate) fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    pub(crate) fn silence(&self) {
        self.state.send_replace(State::Silent);
    }

    /// New connections work again; those that fell silent never do.
    pub(crate) fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

/// A text in requests, whose answers are held back.
type HeldBack = Arc<Mutex<Option<String>>>;

/// A topic and a partition of it whose leader is named in no answer.
type Leaderless = Arc<Mutex<Option<(String, i32)>>>;

/// A broker's address in its answers, and the one to put in its place: as long, so no length
/// changes.
#[derive(Clone)]
struct Moved {
    from: [u8; 13],
    to: [u8; 13],
    hides_brokers: Arc<AtomicBool>,
    leaderless: Leaderless,
}

/// Bytes of a partition in an answer about topics: an error, its number, its leader, the leader's
/// epoch, its replicas, those in sync, those offline, tags.
const PARTITION: usize = 26;

/// Bytes of an answer before what it says: its length, its number, tags and the time to wait.
const ANSWER_HEAD: usize = 13;

impl Moved {
    fn new(from: u16, to: u16, hides_brokers: Arc<AtomicBool>, leaderless: Leaderless) -> Self {
        let address = |port: u16| {
            let mut bytes = *b"127.0.0.1\0\0\0\0";
            bytes[9..].copy_from_slice(&u32::from(port).to_be_bytes());
            bytes
        };
        Self {
            from: address(from),
            to: address(to),
            hides_brokers,
            leaderless,
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
        if is_one && self.hides_brokers.load(Ordering::SeqCst) {
            answer.splice(ANSWER_HEAD..end, [1]);
            let length = u32::try_from(answer.len() - 4).unwrap();
            answer[..4].copy_from_slice(&length.to_be_bytes());
        }
    }

    /// Takes the leader of a partition out of an answer about topics.
    fn hide_leader(&self, answer: &mut [u8]) {
        let lost = self.leaderless.lock().unwrap().clone();
        let Some((topic, partition)) = lost else { return };
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
    held_back: HeldBack,
) {
    let now = *state.borrow();
    match now {
        State::Cut => return,
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
                () = ask(&mut from_near, &mut to_far, &held_back, &is_held) => None,
                () = answer(&mut from_far, &mut to_near, moved, &is_held) => None,
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

/// Carries what a client says, and marks the connection once it has asked for what is held back.
async fn ask(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    held_back: &Mutex<Option<String>>,
    is_held: &AtomicBool,
) {
    let mut buffer = vec![0; 256 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let text = held_back.lock().unwrap().clone();
        let is_asked = |text: String| {
            buffer[..length]
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        };
        if text.is_some_and(is_asked) {
            is_held.store(true, Ordering::SeqCst);
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// Carries what a server says: as it comes, or by Kafka's frames.
async fn answer(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    moved: Option<Moved>,
    is_held: &AtomicBool,
) {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let carried = match moved {
            None => from
                .read(&mut buffer)
                .await
                .map(|length| buffer[..length].to_vec()),
            Some(ref moved) => frame(from, moved).await,
        };
        let Ok(bytes) = carried else { return };
        if is_held.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if bytes.is_empty() || to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// Reads a frame of Kafka's, its length included.
async fn frame(from: &mut (impl AsyncRead + Unpin), moved: &Moved) -> std::io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.resize(4 + length as usize, 0);
    from.read_exact(&mut bytes[4..]).await?;
    moved.apply(&mut bytes[4..]);
    moved.hide_broker(&mut bytes);
    moved.hide_leader(&mut bytes);
    Ok(bytes)
}
