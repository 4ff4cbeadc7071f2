//! A private PostgreSQL in a folder of its own, reachable by nobody else, gone when the demo is.
//!
//! Two processes are started. The server is one. The other, the keeper, is a shell that waits for
//! its standard input to end, which happens when this process lets go of it or dies, by whatever
//! signal; then it stops the server and removes the folder. So there is one way to stop, and
//! `kill -9` takes it too.

mod programs;

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::{chance, clock};

pub(super) use programs::Programs;

/// The superuser; no one but the folder's owner gets to the socket.
const ROLE: &str = "bellwether";
/// Longest folder whose socket's path still fits in 107 bytes.
const MAX_FOLDER_BYTES: usize = 80;

const KEEPER: &str = r#"
trap '' HUP INT TERM
read -r _
if pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null); then
    kill -QUIT "$pid" 2>/dev/null
    tries=0
    # Where nobody collects orphans the pid stays; the file goes with the server in any case.
    while [ -e "$1/data/postmaster.pid" ] && kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 100 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
    kill -KILL "$pid" 2>/dev/null
fi
tries=0
until rm -rf "$1" 2>/dev/null || [ "$tries" -ge 50 ]; do sleep 0.1; tries=$((tries + 1)); done
"#;

/// Settings besides the defaults: nothing here outlives the demo, so nothing has to survive a
/// crash.
const SETTINGS: [&str; 12] = [
    "listen_addresses=",
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "min_wal_size=16MB",
    "max_wal_size=64MB",
    "shared_buffers=32MB",
    "max_connections=50",
    "timezone=UTC",
    "log_timezone=UTC",
];

/// The user that the server runs as when this process is root, as which PostgreSQL refuses to run.
#[derive(Debug, Clone, Copy)]
struct ServerUser {
    uid: u32,
    gid: u32,
}

impl ServerUser {
    fn choose() -> anyhow::Result<Option<Self>> {
        if number(&["-u"])? != Some(0) {
            return Ok(None);
        }
        for user in ["postgres", "nobody"] {
            if let (Some(uid), Some(gid)) = (number(&["-u", user])?, number(&["-g", user])?) {
                return Ok(Some(Self { uid, gid }));
            }
        }
        bail!("PostgreSQL refuses to run as root, and there is neither a user `postgres` nor `nobody`")
    }
}

/// The number that `id` prints, if it knows one.
fn number(arguments: &[&str]) -> anyhow::Result<Option<u32>> {
    let output = Command::new("id")
        .args(arguments)
        .output()
        .context("running `id`")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse().ok())
}

/// A running server.
#[derive(Debug)]
pub(super) struct PrivatePostgres {
    folder: PathBuf,
    keeper: Child,
    /// The keeper's standard input; `None` once it was let go.
    keeper_stdin: Option<ChildStdin>,
    server: Option<Child>,
}

impl PrivatePostgres {
    /// Makes a cluster and starts its server; it may not answer yet. Blocks for some seconds.
    pub(super) fn start(programs: &Programs) -> anyhow::Result<Self> {
        let user = ServerUser::choose()?;
        let folder = make_folder(user)?;
        let mut keeper = background(Path::new("sh"), user);
        keeper
            .args(["-c", KEEPER, "bellwether-demo-keeper"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut keeper = match keeper.spawn() {
            Ok(keeper) => keeper,
            Err(error) => {
                // The keeper would have removed it.
                drop(fs::remove_dir(&folder));
                return Err(error).context("starting a shell");
            }
        };
        let keeper_stdin = keeper.stdin.take();
        let mut this = Self {
            folder,
            keeper,
            keeper_stdin,
            server: None,
        };
        this.make_cluster(programs, user)?;
        this.start_server(programs, user)?;
        Ok(this)
    }

    /// For `postgres.url`.
    pub(super) fn url(&self) -> String {
        let folder = percent_encoding::percent_encode(
            self.folder.as_os_str().as_encoded_bytes(),
            percent_encoding::NON_ALPHANUMERIC,
        );
        format!("postgres://{ROLE}@localhost/postgres?host={folder}&sslmode=disable")
    }

    /// The folder of everything that belongs to the server.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Fails if the server has ended, with the last lines of its log.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        if let Some(server) = &mut self.server
            && let Some(status) = server.try_wait()?
        {
            bail!(
                "the private PostgreSQL ended ({status}):\n{}",
                last_lines(&self.folder.join("log"))
            );
        }
        Ok(())
    }

    fn make_cluster(&self, programs: &Programs, user: Option<ServerUser>) -> anyhow::Result<()> {
        let output = background(&programs.path("initdb"), user)
            .arg("-D")
            .arg(self.folder.join("data"))
            .args(["-U", ROLE, "--auth=trust", "--encoding=UTF8", "--locale=C"])
            .args(["--no-sync", "--wal-segsize=1"])
            .stdin(Stdio::null())
            .output()
            .context("starting initdb")?;
        if !output.status.success() {
            bail!(
                "initdb failed ({}):\n{}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }

    fn start_server(&mut self, programs: &Programs, user: Option<ServerUser>) -> anyhow::Result<()> {
        let log = File::create(self.folder.join("log")).context("making the server's log")?;
        let server = background(&programs.path("postgres"), user)
            .arg("-D")
            .arg(self.folder.join("data"))
            .arg("-k")
            .arg(&self.folder)
            .args(SETTINGS.iter().flat_map(|setting| ["-c", setting]))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("starting postgres")?;
        self.server = Some(server);
        Ok(())
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        drop(self.keeper_stdin.take());
        // Waited for first: the keeper waits until the server's pid is no more.
        for child in self.server.iter_mut().chain([&mut self.keeper]) {
            if let Err(error) = child.wait() {
                tracing::warn!(error = %error, "waiting for the private PostgreSQL to end");
            }
        }
    }
}

/// A program that a Ctrl-C at the terminal does not reach, that sees nothing of our environment's
/// locale, and that runs as the user, in `/`, which everybody may enter.
fn background(program: &Path, user: Option<ServerUser>) -> Command {
    let mut command = Command::new(program);
    command.process_group(0).current_dir("/").env("LC_ALL", "C");
    if let Some(ServerUser { uid, gid }) = user {
        command.uid(uid).gid(gid);
    }
    command
}

/// Makes a folder that is its owner's alone.
fn make_folder(owner: Option<ServerUser>) -> anyhow::Result<PathBuf> {
    let mut place = std::env::temp_dir();
    let is_long = place.as_os_str().len() > MAX_FOLDER_BYTES - 24;
    if is_long || (owner.is_some() && !anybody_may_write(&place)) {
        place = PathBuf::from("/tmp");
    }
    loop {
        let name = format!("bellwether-demo.{}", hex::encode(chance::bytes::<4>()));
        let folder = place.join(name);
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => {
                if let Some(ServerUser { uid, gid }) = owner {
                    chown(&folder, Some(uid), Some(gid)).context("giving the folder to its owner")?;
                }
                return Ok(folder);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("making {}", folder.display())),
        }
    }
}

/// True if any user gets to the folder, and may make and remove its own files there.
fn anybody_may_write(folder: &Path) -> bool {
    let allows = |folder: &Path, wanted: u32| {
        fs::metadata(folder).is_ok_and(|metadata| metadata.permissions().mode() & wanted == wanted)
    };
    allows(folder, 0o003) && folder.ancestors().all(|one| allows(one, 0o001))
}

fn last_lines(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|error| format!("(its log cannot be read: {error})"));
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// Waits until the server takes connections, at most 30 s.
pub(super) async fn wait_until_ready(
    postgres: &mut PrivatePostgres,
    pool: &sqlx::PgPool,
) -> anyhow::Result<()> {
    let deadline = clock::monotonic() + Duration::from_secs(30);
    loop {
        postgres.check()?;
        match pool.acquire().await {
            Ok(_) => return Ok(()),
            Err(error) if clock::monotonic() > deadline => {
                return Err(error).context("the private PostgreSQL does not answer");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
