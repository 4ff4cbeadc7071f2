//! The machine and the cost of processes, read from `/proc`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

/// Unit in which Linux shows processor time: a hundredth of a second (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// Describes processor, memory and kernel.
pub fn describe() -> Value {
    json!({
        "cpu": field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory_gib": field("/proc/meminfo", "MemTotal")
            .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
            .map_or(0, |kib| kib >> 20),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
    })
}

/// Describes the machine and its load in a sentence.
pub fn sentence(machine: &Value) -> String {
    let text = |key: &str| machine[key].as_str().unwrap_or_default().to_owned();
    format!(
        "{} cores of {}, {} GiB, Linux {}; load over the last minute {} before and {} after",
        machine["cores"],
        text("cpu"),
        machine["memory_gib"],
        text("kernel"),
        machine["load_before"],
        machine["load_after"]
    )
}

/// Average number of processes that wanted a core over the last minute.
pub fn load() -> f64 {
    read("/proc/loadavg")
        .split(' ')
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0.0)
}

/// Processor time of a process so far, with all its threads.
pub fn cpu_of(pid: u32) -> Duration {
    stat_of(pid).map_or(Duration::ZERO, |stat| stat.own)
}

/// Processor time of this process so far.
pub fn own_cpu() -> Duration {
    cpu_of(std::process::id())
}

/// Private memory of this process in RAM, in bytes.
pub fn own_memory() -> u64 {
    memory_of(std::process::id()).0
}

/// Memory of a process in RAM, in bytes: its own, and with what it maps of files.
pub fn memory_of(pid: u32) -> (u64, u64) {
    let bytes = |name: &str| {
        field(&format!("/proc/{pid}/status"), name)
            .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
            .map_or(0, |kib| kib << 10)
    };
    (bytes("RssAnon"), bytes("VmRSS"))
}

/// Processor time of a process and of its children, also of those that ended.
pub fn cpu_of_family(pid: u32) -> Duration {
    let mut total = Duration::ZERO;
    let all: Vec<Stat> = processes().filter_map(stat_of).collect();
    for stat in &all {
        if stat.pid == pid {
            total += stat.own + stat.ended_children;
        } else if stat.parent == pid {
            total += stat.own;
        }
    }
    total
}

/// Process id of a process's parent.
pub fn parent_of(pid: u32) -> Option<u32> {
    stat_of(pid).map(|stat| stat.parent)
}

/// Process id of the broker that was started for this run.
pub fn broker() -> Option<u32> {
    let dir = PathBuf::from(std::env::var_os("DEV_SERVICES_DIR")?);
    // The services' files may lie elsewhere; then this file holds their directory.
    let base = fs::read_to_string(dir.join("place")).map_or(dir, |place| PathBuf::from(place.trim()));
    fs::read_to_string(base.join("kafka/pid"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

struct Stat {
    pid: u32,
    parent: u32,
    own: Duration,
    ended_children: Duration,
}

fn stat_of(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything; what follows is numbered from the third
    // field on (proc(5)).
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = |count: u64| TICK * u32::try_from(count).unwrap_or(u32::MAX);
    Some(Stat {
        pid,
        parent: u32::try_from(field(4)?).ok()?,
        own: ticks(field(14)? + field(15)?),
        ended_children: ticks(field(16)? + field(17)?),
    })
}

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = read(path);
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
