//! Servers of a test's own, which may crash without harm to other tests.

use std::path::PathBuf;
use std::process::Command;

use super::{free_port, unique};

/// A Kafka or a PostgreSQL that one test alone uses.
pub(crate) struct OwnService {
    dir: PathBuf,
    options: Vec<String>,
    environment: String,
}

impl OwnService {
    /// Starts a server: `kafka` or `postgres`.
    pub(crate) fn start(name: &str) -> Self {
        Self::start_with(name, &[])
    }

    /// Starts the brokers of a cluster, which hold each other's copies.
    pub(crate) fn start_cluster(brokers: usize) -> Vec<Self> {
        let ports: Vec<String> = (0..brokers).map(|_| free_port().to_string()).collect();
        // All at once: none answers before all are there.
        std::thread::scope(|scope| {
            let starting: Vec<_> = (1..=brokers)
                .map(|number| format!("{number}@{}", ports.join(",")))
                .map(|node| scope.spawn(move || Self::start_with("kafka", &["--node", &node])))
                .collect();
            starting.into_iter().map(|start| start.join().unwrap()).collect()
        })
    }

    fn start_with(name: &str, more: &[&str]) -> Self {
        let parent = std::env::var_os("DEV_SERVICES_DIR").expect("`make test` names its folder");
        let dir = PathBuf::from(parent).join(unique(name));
        std::fs::create_dir_all(&dir).unwrap();
        let options = [["--free-ports", "--only", name].as_slice(), more].concat();
        let mut this = Self {
            dir,
            options: options.into_iter().map(str::to_owned).collect(),
            environment: String::new(),
        };
        this.environment = this.start_again();
        this
    }

    /// Its address: of Kafka `host:port`, of PostgreSQL a URL.
    pub(crate) fn address(&self) -> String {
        let names = ["BELLWETHER_KAFKA__BROKERS=", "BELLWETHER_POSTGRES__URL="];
        let address = self
            .environment
            .lines()
            .find_map(|line| names.iter().find_map(|name| line.strip_prefix(name)));
        address
            .unwrap_or_else(|| panic!("no address in {}", self.environment))
            .to_owned()
    }

    /// Ends it as a crash does: `kill -9`, or an immediate shutdown.
    pub(crate) fn crash(&self) {
        self.services("down", &["--only", &self.options[2], "--now"]);
    }

    /// Starts it where it was, and returns once it answers.
    pub(crate) fn start_again(&self) -> String {
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        self.services("up", &options)
    }

    fn services(&self, verb: &str, options: &[&str]) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/services");
        let mut command = Command::new(script);
        let output = command.arg(verb).arg(&self.dir).args(options).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{verb}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for OwnService {
    fn drop(&mut self) {
        self.services("wipe", &[]);
    }
}
