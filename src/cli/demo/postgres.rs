//! A private PostgreSQL in a folder of its own, reachable by nobody else, gone when the demo is.
//!
//! Two processes are started. The server is one. The other, the keeper, is a shell that waits for its standard input to
//! end, which happens when this process lets go of it or dies, by whatever signal; then it stops the server and removes the
//! folder. So there is one way to stop, and `kill -9` takes it too.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::{chance, clock};

/// Oldest release that Bellwether works with.
const OLDEST: u32 = 14;
const DEBIANS_PLACE: &str = "/usr/lib/postgresql";
/// The superuser, named for what is in it; no one but the folder's owner gets to the socket.
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

/// What is set besides the defaults: nothing here outlives the demo, so nothing has to survive a crash.
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

/// PostgreSQL's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Programs {
    /// `None`: where `PATH` finds them.
    folder: Option<PathBuf>,
    pub(super) release: u32,
}

impl Programs {
    /// Those in `folder` when it is named, else the newest of Debian's, else those on `PATH`.
    pub(super) fn find(folder: Option<&Path>) -> anyhow::Result<Self> {
        let found = match folder {
            Some(folder) => Self::in_folder(Some(folder)),
            None => Self::newest_in(Path::new(DEBIANS_PLACE)).or_else(|| Self::in_folder(None)),
        };
        match found {
            Some(programs) if programs.release >= OLDEST => Ok(programs),
            Some(programs) => bail!(
                "PostgreSQL {} is too old: {OLDEST} or later is needed (--postgres-bin says where to look)",
                programs.release
            ),
            None => bail!(
                "no PostgreSQL server was found, neither under {DEBIANS_PLACE} nor on PATH: on Debian and Ubuntu \
                 `apt-get install postgresql` brings one, elsewhere --postgres-bin says where its programs are"
            ),
        }
    }

    fn newest_in(place: &Path) -> Option<Self> {
        fs::read_dir(place)
            .ok()?
            .filter_map(|entry| {
                let folder = entry.ok()?.path();
                let release = folder.file_name()?.to_str()?.parse().ok()?;
                let folder = folder.join("bin");
                let whole = ["initdb", "postgres"]
                    .iter()
                    .all(|name| folder.join(name).is_file());
                whole.then_some(Self {
                    folder: Some(folder),
                    release,
                })
            })
            .max_by_key(|programs| programs.release)
    }

    fn in_folder(folder: Option<&Path>) -> Option<Self> {
        let mut programs = Self {
            folder: folder.map(Path::to_owned),
            release: 0,
        };
        let output = Command::new(programs.path("postgres"))
            .arg("--version")
            .output()
            .ok()?;
        // `postgres (PostgreSQL) 16.2 (Debian …)`
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.split(' ').nth(2)?;
        programs.release = version
            .split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()?;
        Some(programs)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder
            .as_deref()
            .map_or_else(|| PathBuf::from(name), |folder| folder.join(name))
    }
}

/// Whom the server runs as when that is not ourselves: PostgreSQL refuses to run as root.
#[derive(Debug, Clone, Copy)]
struct Steward {
    uid: u32,
    gid: u32,
}

impl Steward {
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

/// What `id` says, if it knows.
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
    /// The keeper's; `None` once it was let go.
    leash: Option<ChildStdin>,
    server: Option<Child>,
}

impl PrivatePostgres {
    /// Makes a cluster and starts its server; it may not answer yet. Blocks for some seconds.
    pub(super) fn start(programs: &Programs) -> anyhow::Result<Self> {
        let steward = Steward::choose()?;
        let folder = make_folder(steward)?;
        let mut keeper = background(Path::new("sh"), steward);
        keeper
            .args(["-c", KEEPER, "bellwether-demo-keeper"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut keeper = match keeper.spawn() {
            Ok(keeper) => keeper,
            Err(error) => {
                // Nobody else will.
                drop(fs::remove_dir(&folder));
                return Err(error).context("starting a shell");
            }
        };
        let leash = keeper.stdin.take();
        let mut this = Self {
            folder,
            keeper,
            leash,
            server: None,
        };
        this.make_cluster(programs, steward)?;
        this.start_server(programs, steward)?;
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

    /// Where everything of it lies.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the server is still there; its last words if not.
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

    fn make_cluster(&self, programs: &Programs, steward: Option<Steward>) -> anyhow::Result<()> {
        let output = background(&programs.path("initdb"), steward)
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

    fn start_server(&mut self, programs: &Programs, steward: Option<Steward>) -> anyhow::Result<()> {
        let log = File::create(self.folder.join("log")).context("making the server's log")?;
        let server = background(&programs.path("postgres"), steward)
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
        drop(self.leash.take());
        // Waited for first: the keeper waits until the server's pid is no more.
        for child in self.server.iter_mut().chain([&mut self.keeper]) {
            if let Err(error) = child.wait() {
                tracing::warn!(error = %error, "waiting for the private PostgreSQL to end");
            }
        }
    }
}

/// A program that a Ctrl-C at the terminal does not reach, that sees nothing of our environment's locale, and that runs
/// as the steward. In `/`, which everybody may enter.
fn background(program: &Path, steward: Option<Steward>) -> Command {
    let mut command = Command::new(program);
    command.process_group(0).current_dir("/").env("LC_ALL", "C");
    if let Some(Steward { uid, gid }) = steward {
        command.uid(uid).gid(gid);
    }
    command
}

/// A new folder that is its owner's alone.
fn make_folder(owner: Option<Steward>) -> anyhow::Result<PathBuf> {
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
                if let Some(Steward { uid, gid }) = owner {
                    chown(&folder, Some(uid), Some(gid)).context("giving the folder to its owner")?;
                }
                return Ok(folder);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("making {}", folder.display())),
        }
    }
}

/// Whether the steward gets there, and may remove there what is its own.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_release_is_taken() -> std::io::Result<()> {
        let place = tempfile::tempdir()?;
        for (release, names) in [
            ("9.6", &["initdb", "postgres"][..]),
            ("14", &["initdb", "postgres"]),
            ("15", &["initdb", "postgres"]),
            // The client programs alone.
            ("17", &["psql"]),
            ("notes", &[]),
        ] {
            let bin = place.path().join(release).join("bin");
            fs::create_dir_all(&bin)?;
            for name in names {
                File::create(bin.join(name))?;
            }
        }
        let found = Programs::newest_in(place.path()).expect("two releases");
        assert_eq!(found.release, 15);
        assert_eq!(Programs::newest_in(&place.path().join("nowhere")), None);
        Ok(())
    }
}
