//! The shape of the crate, read from its sources: arrows between rooms point down, no circle joins
//! files, and pure modules neither wait nor reach outside.

mod contracts;
mod limits;
mod log_lines;
mod source_events;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms from the top floor down. A room uses those on lower floors, none on its own.
const FLOORS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["app"],
    &["api", "ui", "detect", "deliver"],
    &["ingest"],
    &["dispatch"],
    &["record", "kafka", "bounded_listener"],
    &["telemetry"],
    &["config"],
    &["domain"],
    &["clock", "chance", "tasks", "prefetch", "last_exit"],
];

/// Modules that decide: functions of state, input, time and chance. A name covers what lies below
/// it.
const PURE: &[&str] = &[
    "domain",
    "ingest::formats",
    "ingest::access_log",
    "ingest::replay_file",
    "ingest::reject_record",
    "ingest::visitor_hash",
    "ingest::route::aliases",
    "ingest::route::record",
    "dispatch",
    "detect::completeness",
    "detect::engine",
    "detect::site",
    "detect::window",
    "detect::usual",
    "detect::notification",
    "detect::redact",
    "detect::source_silence",
    "detect::keyed_hash",
    "deliver::lanes",
    "deliver::backlog",
    "deliver::intake::due",
    "deliver::intake::hand_over",
    "deliver::recent_firsts",
    "deliver::decide",
    "deliver::resume",
    "deliver::admission",
    "deliver::outcome",
    "deliver::request",
    "deliver::formats",
    "deliver::http::head",
    "deliver::http::body",
    "deliver::http::strike",
    "deliver::signature",
    "kafka::diagnosis",
    "kafka::rights",
    "kafka::topics::plan",
    "telemetry::connection",
    "api::field_errors",
    "api::validate",
    "api::merge",
    "api::site_input",
    "api::goal_input",
    "api::webhook_input",
    "api::trigger_input",
    "ui::escape",
    "ui::html",
    "ui::times",
    "ui::words",
    "ui::health",
    "ui::settings_words",
    "ui::test_words",
    "ui::delivery_line",
    "ui::chart",
    "ui::json_text",
    "ui::form_errors",
    "ui::webhook_form",
    "ui::webhook_errors",
    "ui::model",
    "ui::paths",
    "ui::form",
];

/// Crates and modules that wait, reach outside, or read a clock or chance.
const IMPURE: &[&str] = &[
    "tokio",
    "tokio_util",
    "std::fs",
    "std::net::TcpStream",
    "std::thread",
    "h2",
    "hyper",
    "hickory_resolver",
    "rand",
    "rdkafka",
    "rdkafka_sys",
    "sqlx",
    "reqwest",
    "axum",
    "crate::clock",
    "crate::chance",
];

#[test]
fn arrows_between_rooms_point_down() {
    let house = House::read();
    let mut climbing = Vec::new();
    for (from, to) in house.arrows() {
        let (above, below) = (floor(from), floor(to));
        if room(from) != room(to) && below <= above {
            climbing.push(format!("{from} uses {to}"));
        }
    }
    assert!(climbing.is_empty(), "arrows that climb:\n{}", climbing.join("\n"));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let house = House::read();
    let circles = house.circles();
    assert!(circles.is_empty(), "circles of files: {circles:#?}");
}

#[test]
fn names_of_tests_have_at_most_60_characters() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests/it"] {
        collect(&root.join(folder), &mut files);
    }
    let mut names = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).expect("a readable source");
        let after = text.split("#[test]").skip(1);
        let others = ["#[tokio::test", "#[sqlx::test"].map(|mark| text.split(mark).skip(1));
        for part in after.chain(others.into_iter().flatten()) {
            let name = part.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
            names.extend(name.map(str::to_owned));
        }
    }
    assert!(names.len() > 1_000, "{} tests were found", names.len());
    names.retain(|name| name.chars().count() > 60);
    assert_eq!(names, Vec::<String>::new());
}

#[test]
fn pure_modules_neither_wait_nor_reach_outside() {
    let house = House::read();
    let arrows = house.arrows();
    let mut found = Vec::new();
    for module in house.modules.keys().filter(|module| is_pure(module)) {
        // What a pure module uses is pure too, and so on down.
        let mut seen = BTreeSet::from([module.as_str()]);
        let mut open = vec![module.as_str()];
        while let Some(at) = open.pop() {
            let names = house.impure_names(at);
            found.extend(names.iter().map(|name| format!("{module}: {at} names {name}")));
            let used = arrows.range((at, "")..).take_while(|(from, _)| *from == at);
            open.extend(
                used.map(|(_, used)| *used)
                    .filter(|used| !is_pure(used) && seen.insert(used)),
            );
        }
    }
    assert!(
        found.is_empty(),
        "impure names in pure modules:\n{}",
        found.join("\n")
    );
    let is_there = |pure: &&str| house.modules.keys().any(|module| lies_in(module, pure));
    let gone: Vec<_> = PURE.iter().filter(|pure| !is_there(pure)).collect();
    assert!(gone.is_empty(), "{gone:?} are no modules any more");
}

fn is_pure(module: &str) -> bool {
    PURE.iter().any(|pure| lies_in(module, pure))
}

/// True if a path names `place` or something in it.
fn lies_in(path: &str, place: &str) -> bool {
    path.strip_prefix(place)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The crate's modules, one a file, without their tests.
struct House {
    modules: BTreeMap<String, Source>,
}

#[derive(Default)]
struct Source {
    /// Paths as written: of `use` lines, and `crate::`, `super::` and child paths in the code.
    paths: BTreeSet<Vec<String>>,
    /// Names that the file hands on, with the paths they come from.
    handed_on: BTreeMap<String, Vec<String>>,
}

impl House {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        collect(&root, &mut files);
        let modules = files
            .iter()
            .filter(|file| !is_test(file.strip_prefix(&root).expect("a file of src")))
            .map(|file| {
                let module = module_of(file.strip_prefix(&root).expect("a file of src"));
                let text = fs::read_to_string(file).expect("a readable source");
                (module, Source::parse(&text))
            })
            .filter(|(module, _)| module != "lib")
            .collect();
        Self { modules }
    }

    /// Names in a module that wait, reach outside, or read a clock or chance.
    fn impure_names(&self, module: &str) -> Vec<String> {
        let paths = self.modules[module].paths.iter();
        let names = paths.map(|path| match self.absolute(module, path) {
            Some(absolute) => format!("crate::{}", absolute.join("::")),
            None => path.join("::"),
        });
        names
            .filter(|name| IMPURE.iter().any(|impure| lies_in(name, impure)))
            .collect()
    }

    /// Pairs of modules of which the first uses something that the second defines.
    fn arrows(&self) -> BTreeSet<(&str, &str)> {
        let mut arrows = BTreeSet::new();
        for (module, source) in &self.modules {
            for path in &source.paths {
                if let Some(target) = self.home_of(module, path, 0)
                    && target != module
                {
                    arrows.insert((module.as_str(), target));
                }
            }
        }
        arrows
    }

    /// The module in which what `path` names is defined, seen from `module`.
    fn home_of(&self, module: &str, path: &[String], depth: usize) -> Option<&str> {
        let absolute = self.absolute(module, path)?;
        let (home, rest) = (1..=absolute.len()).rev().find_map(|length| {
            let name = absolute[..length].join("::");
            let (home, _) = self.modules.get_key_value(&name)?;
            Some((home, &absolute[length..]))
        })?;
        // Something handed on by a `pub use` is defined further on.
        let handed_on = rest
            .first()
            .and_then(|name| self.modules[home].handed_on.get(name));
        match handed_on {
            Some(path) if depth < 8 => self.home_of(home, path, depth + 1),
            _ => Some(home),
        }
    }

    fn absolute(&self, module: &str, path: &[String]) -> Option<Vec<String>> {
        let here: Vec<String> = module.split("::").map(str::to_owned).collect();
        match path.first()?.as_str() {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some([&here, &path[1..]].concat()),
            "super" => {
                let ups = path.iter().take_while(|name| *name == "super").count();
                let up = here.len().checked_sub(ups)?;
                Some([&here[..up], &path[ups..]].concat())
            }
            child => {
                let name = format!("{module}::{child}");
                self.modules.contains_key(&name).then(|| [&here, path].concat())
            }
        }
    }

    /// Groups of modules that can each be reached from the others.
    fn circles(&self) -> Vec<Vec<&str>> {
        let arrows = self.arrows();
        let reached: BTreeMap<&str, BTreeSet<&str>> = self
            .modules
            .keys()
            .map(|start| {
                let mut seen = BTreeSet::new();
                let mut open = vec![start.as_str()];
                while let Some(at) = open.pop() {
                    for (_, to) in arrows.range((at, "")..).take_while(|(from, _)| *from == at) {
                        if seen.insert(*to) {
                            open.push(to);
                        }
                    }
                }
                (start.as_str(), seen)
            })
            .collect();
        let circles: BTreeSet<Vec<&str>> = reached
            .iter()
            .filter(|(module, seen)| seen.contains(*module))
            .map(|(module, seen)| {
                let members = seen.iter().filter(|other| reached[**other].contains(module));
                members.copied().collect()
            })
            .collect();
        circles.into_iter().collect()
    }
}

impl Source {
    fn parse(text: &str) -> Self {
        let mut source = Self::default();
        let code = code_of(text);
        for statement in code.split(';') {
            let Some(at) = use_at(statement) else {
                source.note_paths(statement);
                continue;
            };
            let (before, tree) = statement.split_at(at);
            source.note_paths(before);
            let is_handed_on = before.trim_end().ends_with("pub") || before.trim_end().ends_with(')');
            let mut leaves = Vec::new();
            expand(tree.trim_start_matches("use ").trim(), &[], &mut leaves);
            for mut path in leaves {
                let name = match path.iter().position(|part| part.contains(" as ")) {
                    Some(place) => {
                        let (original, alias) = path[place].split_once(" as ").expect("found above");
                        let (original, alias) = (original.trim().to_owned(), alias.trim().to_owned());
                        path[place] = original;
                        alias
                    }
                    None => path.last().cloned().unwrap_or_default(),
                };
                if is_handed_on {
                    source.handed_on.insert(name, path.clone());
                }
                source.paths.insert(path);
            }
        }
        source
    }

    /// Collects the paths that stand in code outside `use` lines.
    fn note_paths(&mut self, code: &str) {
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        for word in code.split(|c: char| !is_word(c)) {
            let parts: Vec<String> = word
                .split("::")
                .filter(|part| !part.is_empty() && !part.contains(':'))
                .map(str::to_owned)
                .collect();
            if parts.len() > 1 {
                self.paths.insert(parts);
            }
        }
    }
}

/// The place at which the tree of a `use` statement begins, if the statement is one.
fn use_at(statement: &str) -> Option<usize> {
    let at = statement.rfind("use ")?;
    let before = &statement[..at];
    let begins_a_line = before
        .rsplit('\n')
        .next()
        .is_some_and(|line| line.trim().is_empty() || line.trim().starts_with("pub"));
    begins_a_line.then_some(at)
}

/// Writes a tree of imports as single paths.
fn expand(tree: &str, before: &[String], leaves: &mut Vec<Vec<String>>) {
    let (head, group) = match tree.find('{') {
        Some(open) => (
            &tree[..open],
            Some(tree[open + 1..].trim_end().trim_end_matches('}')),
        ),
        None => (tree, None),
    };
    let mut path = before.to_vec();
    path.extend(
        head.split("::")
            .map(str::trim)
            .filter(|part| !part.is_empty() && *part != "self" || (*part == "self" && before.is_empty()))
            .map(str::to_owned),
    );
    let Some(group) = group else {
        leaves.push(path);
        return;
    };
    let (mut depth, mut start) = (0_usize, 0);
    let mut parts = Vec::new();
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&group[start..]);
    for part in parts
        .iter()
        .map(|part| part.trim())
        .filter(|part| !part.is_empty())
    {
        expand(part, &path, leaves);
    }
}

/// The code of a file, without comments and without the tests in it.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines() {
        if line.trim() == "#[cfg(test)]" {
            // A file's tests are its end, or a declaration of a file of tests.
            if text.contains("\nmod tests {") {
                break;
            }
            continue;
        }
        let line = line.trim_start();
        if !line.starts_with("//") {
            code.push_str(&without_visibility(line.split(" // ").next().unwrap_or_default()));
            code.push('\n');
        }
    }
    code
}

/// Cuts the path out of `pub(in path)`, which names a module and uses nothing of it.
fn without_visibility(line: &str) -> String {
    let Some((before, after)) = line.split_once("pub(in ") else {
        return line.to_owned();
    };
    let rest = after.split_once(')').map_or("", |(_, rest)| rest);
    format!("{before}pub{rest}")
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn is_test(file: &Path) -> bool {
    file.components().any(|part| {
        matches!(
            part.as_os_str().to_str(),
            Some("tests" | "tests.rs" | "protocol.rs")
        )
    })
}

fn module_of(file: &Path) -> String {
    let mut parts: Vec<String> = file
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts.join("::")
}

fn room(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

fn floor(module: &str) -> usize {
    let room = room(module);
    FLOORS
        .iter()
        .position(|rooms| rooms.contains(&room))
        .unwrap_or_else(|| panic!("{room} stands on no floor: add it to FLOORS"))
}
