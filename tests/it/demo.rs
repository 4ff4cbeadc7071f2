//! `bellwether demo`: shows what it should and leaves nothing. Needs neither Kafka nor Postgres to be there.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::support::{eventually, send_signal};

/// How long a line may take that must come.
const TIMEOUT: Duration = Duration::from_secs(90);

/// A demo whose output is not a terminal.
struct Demo {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    /// Everything it makes is in here.
    folder: tempfile::TempDir,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // As /tmp is: PostgreSQL runs as somebody else when this is root.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_bellwether"))
            .arg("demo")
            .args(arguments)
            .current_dir("/")
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                drop(sender.send(line));
            }
        });
        Self {
            child,
            lines,
            seen: Vec::new(),
            folder,
        }
    }

    /// The next line that holds all of `words`.
    fn line(&mut self, words: &[&str]) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(TIMEOUT) else {
                panic!("no line with {words:?} in:\n{}", self.seen.join("\n"));
            };
            self.seen.push(line.clone());
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
        }
    }

    /// Everything that was said, once it has ended.
    fn end(&mut self) -> (ExitStatus, &[String]) {
        while let Ok(line) = self.lines.recv_timeout(TIMEOUT) {
            self.seen.push(line);
        }
        (self.child.wait().unwrap(), &self.seen)
    }

    fn signal(&self, name: &str) {
        send_signal(&self.child, name);
    }

    /// Whether no file of it is left, and no process that was told of its folder.
    fn left_nothing(&self) -> bool {
        let name = self.folder.path().to_str().unwrap();
        let is_empty = fs::read_dir(self.folder.path()).unwrap().next().is_none();
        let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let line = fs::read(entry.ok()?.path().join("cmdline")).ok()?;
            String::from_utf8_lossy(&line).contains(name).then_some(())
        });
        is_empty && processes.count() == 0
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The `127.0.0.1:port` in a line.
fn address(line: &str) -> String {
    let start = line.find("127.0.0.1:").unwrap();
    let end = line[start + 10..]
        .find(|c: char| !c.is_ascii_digit())
        .map_or(line.len(), |at| start + 10 + at);
    line[start..end].to_owned()
}

#[test]
fn demo_shows_a_spike_a_goal_and_a_retry_with_every_signature_ok_and_leaves_nothing() {
    let mut demo = Demo::start(&["--for", "40s"]);
    let addresses =
        ["receiver", "Kafka ", "API", "metrics"].map(|word| address(&demo.line(&[word, "127.0.0.1"])));
    let curls = [(); 3].map(|()| demo.line(&["curl -s"]));
    demo.line(&["What arrives"]);
    for address in &addresses {
        assert!(TcpStream::connect(address).is_ok(), "{address}");
    }
    curls_work(&curls);

    let (status, lines) = demo.end();
    assert!(status.success(), "{status}");
    let arrivals: Vec<&String> = lines.iter().filter(|line| line.contains("attempt ")).collect();
    for words in [
        ["spike", "threshold", "attempt 1"],
        ["goal", "example", "attempt 1"],
        ["signature ok", "attempt 1", "on purpose"],
        ["signature ok", "attempt 2", "200"],
    ] {
        assert!(
            arrivals
                .iter()
                .any(|line| words.iter().all(|word| line.contains(word))),
            "{words:?} in:\n{}",
            lines.join("\n")
        );
    }
    assert!(arrivals.iter().all(|line| line.contains("signature ok")));
    let last = lines.last().unwrap();
    assert!(last.contains("every signature ok"), "{last}");
    // Piped: nothing drives a terminal.
    assert!(lines.iter().all(|line| !line.contains('\u{1b}')));
    assert!(demo.left_nothing());
    for address in &addresses {
        assert!(TcpStream::connect(address).is_err(), "{address}");
    }
}

#[allow(clippy::print_stdout, reason = "a test that did less than it should says so")]
/// Each printed line does what was said, run as a person would.
fn curls_work(lines: &[String; 3]) {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("skipped: there is no curl");
        return;
    }
    for (line, wanted) in lines
        .iter()
        .zip(["docs.example", "\"data\":[", "\"threshold\":10"])
    {
        let output = Command::new("sh").args(["-c", line]).output().unwrap();
        let answer = String::from_utf8(output.stdout).unwrap();
        assert!(answer.contains(wanted), "{line}: {answer}");
    }
}

#[test]
fn demo_ends_in_order_on_ctrl_c_and_on_sigterm() {
    for signal in ["INT", "TERM"] {
        let mut demo = Demo::start(&[]);
        demo.line(&["What arrives"]);
        demo.signal(signal);
        let (status, lines) = demo.end();
        assert!(status.success(), "{signal}: {status}");
        assert!(
            lines.iter().any(|line| line.contains("nothing of it is left")),
            "{signal}"
        );
        assert!(demo.left_nothing(), "{signal}");
    }
}

#[tokio::test]
async fn demo_killed_with_9_leaves_neither_postgres_nor_folder() {
    let mut demo = Demo::start(&[]);
    demo.line(&["What arrives"]);
    assert!(!demo.left_nothing());
    demo.signal("KILL");
    eventually("everything is gone", Duration::from_secs(20), || async {
        demo.left_nothing().then_some(())
    })
    .await;
}

#[test]
fn two_demos_run_side_by_side() {
    let mut demos = [(); 2].map(|()| Demo::start(&[]));
    let apis = demos
        .each_mut()
        .map(|demo| address(&demo.line(&["API", "127.0.0.1"])));
    assert_ne!(apis[0], apis[1]);
    for demo in &mut demos {
        demo.line(&["signature ok", "attempt 1"]);
    }
}
