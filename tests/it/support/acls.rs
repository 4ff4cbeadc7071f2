//! Access rules for the test's Kafka, written as an operator writes them: with `kafka-acls.sh`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::kafka;

const CREATE_ACLS: i16 = 30;
const VERSION: i16 = 1;
const ALLOW: i8 = 3;

/// A rule that allows an operation, in the numbers of Kafka's protocol.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rule {
    pub(crate) principal: String,
    resource: i8,
    name: String,
    pattern: i8,
    operation: i8,
}

impl Rule {
    /// True if the rule is about this topic or group.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.name == name
    }

    /// True if the rule lets this user do so.
    pub(crate) fn allows(&self, user: &str, operation_name: &str) -> bool {
        self.principal == format!("User:{user}") && self.operation == operation(operation_name)
    }

    /// The rule for one topic alone.
    pub(crate) fn only_on(&self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            pattern: 3,
            ..self.clone()
        }
    }

    /// The rule for another operation.
    pub(crate) fn with(&self, operation_name: &str) -> Self {
        Self {
            operation: operation(operation_name),
            ..self.clone()
        }
    }
}

/// Runs the commands of a document's shell block with a `kafka-acls.sh` that writes its arguments
/// down. `rename` gives each topic and group the name that it has in the test.
pub(crate) fn rules_of(document: &str, rename: impl Fn(&str) -> String) -> Vec<Rule> {
    let block = document
        .split("```bash\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("a block of shell commands");
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("kafka-acls.sh");
    fs::write(&script, "#!/bin/sh\nprintf '%s\\n' \"$@\" END\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-euc", block])
        .env("PATH", path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let calls = String::from_utf8(output.stdout).unwrap();
    let calls = calls.split("END\n").filter(|call| !call.is_empty());
    calls.flat_map(|call| rules_of_call(call, &rename)).collect()
}

/// The rights of a document's table, whose rows are principal, operations and resources.
pub(crate) fn rules_of_table(document: &str) -> Vec<Rule> {
    let rows = document
        .lines()
        .skip_while(|line| *line != "| principal | operations | on |")
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.flat_map(rules_of_row).collect()
}

fn rules_of_row(row: &str) -> Vec<Rule> {
    let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
    let words =
        |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let kind = cells[2].trim();
    let resource = if kind.starts_with("group") { 3 } else { 2 };
    let pattern = if kind.contains("that begin with") { 4 } else { 3 };
    let mut rules = Vec::new();
    for operation_name in words(cells[1]) {
        for name in words(cells[2]) {
            rules.push(Rule {
                principal: format!("User:{}", words(cells[0])[0]),
                resource,
                name,
                pattern,
                operation: operation(&operation_name),
            });
        }
    }
    rules
}

/// Every combination of the operations and resources of one call.
fn rules_of_call(call: &str, rename: &impl Fn(&str) -> String) -> Vec<Rule> {
    let (mut principal, mut operations, mut resources, mut pattern) = (None, Vec::new(), Vec::new(), 3);
    let mut arguments = call.lines();
    while let Some(option) = arguments.next() {
        if option == "--add" {
            continue;
        }
        let value = arguments.next().expect("a value");
        match option {
            "--bootstrap-server" | "--command-config" => {}
            "--allow-principal" => principal = Some(value.to_owned()),
            "--operation" => operations.push(operation(value)),
            "--topic" => resources.push((2, rename(value))),
            "--group" => resources.push((3, rename(value))),
            "--resource-pattern-type" => {
                assert_eq!(value, "prefixed");
                pattern = 4;
            }
            other => panic!("{other} is no option of the commands"),
        }
    }
    let principal = principal.expect("a principal");
    let all = operations.iter().flat_map(|operation| {
        let principal = &principal;
        resources.iter().map(move |(resource, name)| Rule {
            principal: principal.clone(),
            resource: *resource,
            name: name.clone(),
            pattern,
            operation: *operation,
        })
    });
    all.collect()
}

fn operation(name: &str) -> i8 {
    match name {
        "Read" => 3,
        "Write" => 4,
        "Create" => 5,
        "Describe" => 8,
        "DescribeConfigs" => 10,
        other => panic!("{other} is no operation"),
    }
}

/// Puts the rules in force, by the protocol: Kafka's own tools are not at hand.
pub(crate) async fn allow(rules: &[Rule]) {
    let mut request = Vec::new();
    request.extend(CREATE_ACLS.to_be_bytes());
    request.extend(VERSION.to_be_bytes());
    request.extend(1_i32.to_be_bytes());
    put(&mut request, "tests");
    request.extend(i32::try_from(rules.len()).unwrap().to_be_bytes());
    for rule in rules {
        request.extend(rule.resource.to_be_bytes());
        put(&mut request, &rule.name);
        request.extend(rule.pattern.to_be_bytes());
        put(&mut request, &rule.principal);
        put(&mut request, "*");
        request.extend(rule.operation.to_be_bytes());
        request.extend(ALLOW.to_be_bytes());
    }
    let mut broker = TcpStream::connect(kafka::brokers()).await.unwrap();
    broker
        .write_u32(u32::try_from(request.len()).unwrap())
        .await
        .unwrap();
    broker.write_all(&request).await.unwrap();
    let length = broker.read_u32().await.unwrap();
    let mut answer = vec![0; length as usize];
    broker.read_exact(&mut answer).await.unwrap();
    // Correlation id, throttle time and number of results, then an error code and a text each.
    let mut results = &answer[12..];
    for rule in rules {
        let code = i16::from_be_bytes([results[0], results[1]]);
        assert_eq!(code, 0, "{rule:?}: {}", String::from_utf8_lossy(results));
        let text = i16::from_be_bytes([results[2], results[3]]);
        results = &results[4 + usize::try_from(text.max(0)).unwrap()..];
    }
}

fn put(request: &mut Vec<u8>, text: &str) {
    request.extend(i16::try_from(text.len()).unwrap().to_be_bytes());
    request.extend(text.as_bytes());
}
