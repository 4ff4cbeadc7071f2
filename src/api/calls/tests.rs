use std::collections::BTreeSet;

use super::*;

#[test]
fn a_method_of_a_path_is_in_the_table_once() {
    let all: BTreeSet<(&str, &str)> = CALLS
        .iter()
        .map(|call| (call.path, call.method.as_str()))
        .collect();
    assert_eq!(all.len(), CALLS.len());
}

#[test]
fn what_only_reads_asks_for_less_than_what_changes() {
    for call in CALLS {
        let reads = call.method == Method::Get;
        let may_look = matches!(call.access, Access::Scoped | Access::Viewer);
        // A secret is read by those who may change it.
        let is_secret = call.path == SECRET;
        assert!(
            may_look == (reads && !is_secret) || call.access == Access::Admin,
            "{call:?}"
        );
    }
}

#[test]
fn docs_list_every_call() {
    let reference = include_str!("../../../docs/api.md");
    for call in CALLS {
        let row = format!("`{} {}`", call.method, call.path);
        assert!(reference.contains(&row), "{row}");
    }
}
