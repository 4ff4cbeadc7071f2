//! `bellwether demo`: shows what it should and leaves nothing. Needs neither Kafka nor Postgres to
//! be there.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::support::{eventually, send_signal};

/// Time within which a line that must come has to come.
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
                if sender.send(line).is_err() {
                    return;
                }
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

    /// True if no file of it is left, and no process that knows of its folder.
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
fn demo_shows_spikes_goals_and_retries_and_leaves_nothing() {
    let mut demo = Demo::start(&["--for", "60s"]);
    let addresses =
        ["receiver", "Kafka ", "API", "metrics"].map(|word| address(&demo.line(&[word, "127.0.0.1"])));
    let commands = [
        "AUTH=", "SITE=", "HOOK=", "curl -s", "curl -s", "curl -s", "-d '{",
    ];
    let commands = commands.map(|word| demo.line(&[word]));
    demo.line(&["What arrives"]);
    for address in &addresses {
        assert!(TcpStream::connect(address).is_ok(), "{address}");
    }
    let is_patched = commands_work(&commands.join("\n"));

    // One request with its headers and its body, key by key.
    demo.line(&["attempt 1"]);
    for words in [
        "POST /",
        "webhook-id: evt_",
        "x-webhook-signature: sha256=",
        "\"site_id\": ",
    ] {
        demo.line(&[words]);
    }
    // The threshold is the one that was just set.
    if is_patched {
        demo.line(&["now", "docs.example", " of 10,"]);
    }
    let (status, lines) = demo.end();
    assert!(status.success(), "{status}");
    let arrivals: Vec<&String> = lines.iter().filter(|line| line.contains("attempt ")).collect();
    for words in [
        ["spike", "threshold", "attempt 1"],
        ["drop", "threshold", "attempt 1"],
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
    let whole = lines.iter().filter(|line| line.contains("x-webhook-signature:"));
    assert_eq!(whole.count(), 1);
    let last = lines.last().unwrap();
    assert!(last.contains("every signature ok"), "{last}");
    // Piped: nothing drives a terminal.
    assert!(lines.iter().all(|line| !line.contains('\u{1b}')));
    assert!(demo.left_nothing());
    for address in &addresses {
        assert!(TcpStream::connect(address).is_err(), "{address}");
    }
}

/// The printed commands do what was said, run as a person would. False if there is no curl.
#[allow(clippy::print_stdout, reason = "a test that did less than it should says so")]
fn commands_work(commands: &str) -> bool {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("skipped: there is no curl");
        return false;
    }
    let output = Command::new("sh").args(["-c", commands]).output().unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    for wanted in ["docs.example", "\"data\":[", "\"threshold\":10"] {
        assert!(answer.contains(wanted), "{commands}: {answer}");
    }
    // Each answer ends its line, so that the prompt begins one.
    assert!(answer.ends_with('\n') && answer.lines().count() == 3, "{answer}");
    true
}

/// Everything that a demo writes to a terminal. `setup` is run on the terminal before. `None` if
/// there is no program that makes one.
fn written_to_a_terminal(setup: &str, arguments: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
    let line = format!(
        "{setup}\nexec {} demo {arguments}",
        env!("CARGO_BIN_EXE_bellwether")
    );
    let output = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    Some(text)
}

/// The lines of it, without the codes that move the cursor and colour.
fn shown_on_a_terminal(setup: &str, arguments: &str) -> Option<Vec<String>> {
    let text = written_to_a_terminal(setup, arguments)?;
    let mut shown = String::new();
    let mut rest = text.as_str();
    while let Some((before, code)) = rest.split_once("\u{1b}[") {
        shown.push_str(before);
        rest = code.trim_start_matches(|one: char| one.is_ascii_digit() || one == ';');
        rest = &rest[1..];
    }
    shown.push_str(rest);
    Some(
        shown
            .lines()
            .map(|line| line.trim_matches('\r').to_owned())
            .collect(),
    )
}

fn widest(lines: &[String]) -> &str {
    lines.iter().max_by_key(|line| line.chars().count()).unwrap()
}

#[test]
#[allow(clippy::print_stdout, reason = "a test that did less than it should says so")]
fn demo_fits_terminals_of_80_and_120_columns() {
    for columns in [80, 120] {
        let Some(lines) = shown_on_a_terminal(&format!("stty cols {columns} rows 40"), "--for 12s") else {
            println!("skipped: script is not there (Debian: bsdutils)");
            return;
        };
        let text = lines.join("\n");
        for wanted in [
            "POST /",
            "webhook-signature: v1,",
            "shop.example",
            " of 150",
            "Ctrl-C ends it",
        ] {
            assert!(text.contains(wanted), "{columns}: no {wanted} in:\n{text}");
        }
        let widest = widest(&lines);
        assert!(widest.chars().count() < columns, "{columns}: {widest}");
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "a test that did less than it should says so")]
fn demo_writes_plain_lines_to_a_dumb_terminal() {
    let Some(text) = written_to_a_terminal("export TERM=dumb", "--for 12s") else {
        println!("skipped: script is not there (Debian: bsdutils)");
        return;
    };
    assert!(
        text.contains("attempt 1") && text.contains("the demo is over"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
#[allow(clippy::print_stdout, reason = "a test that did less than it should says so")]
fn demo_draws_for_the_columns_that_the_terminal_has_now() {
    let setup = "stty cols 120 rows 40\n(sleep 14; stty cols 50) </dev/tty &";
    let Some(lines) = shown_on_a_terminal(setup, "--for 25s") else {
        println!("skipped: script is not there (Debian: bsdutils)");
        return;
    };
    let clocks: Vec<usize> = lines
        .iter()
        .filter(|line| line.contains("times faster than life ·"))
        .map(|line| line.chars().count())
        .collect();
    assert!(clocks.first() > Some(&50), "{clocks:?}");
    assert_eq!(clocks.last(), Some(&49), "{clocks:?}");
}

#[test]
fn demo_ends_with_1_when_nobody_reads() {
    let mut demo = Demo::start(&[]);
    demo.line(&["What arrives"]);
    // Dropped with the thread that reads, at the next line that it cannot hand on.
    let (_, nobody) = channel();
    demo.lines = nobody;
    assert_eq!(demo.child.wait().unwrap().code(), Some(1));
    assert!(demo.left_nothing());
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
async fn demo_killed_with_9_leaves_nothing() {
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
