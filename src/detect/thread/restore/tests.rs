use super::*;

/// Completeness and start of a commit of 10, in a partition that begins at `low`.
fn placed(metadata: &str, low: i64) -> (CompleteFrom, i64) {
    let position = position_at(10, CommitMetadata::parse(metadata), low);
    (position.complete_from.own, position.start)
}

#[test]
fn only_removed_records_make_a_commit_incomplete() {
    assert_eq!(placed("v1 5f3a 7 - -", 7), (CompleteFrom::Ever, 7));
    assert_eq!(placed("v1 5f3a 7 - 99", 7), (CompleteFrom::At(99), 7));
    assert_eq!(placed("v1 5f3a 7 - -", 8), (CompleteFrom::Unknown, 8));
    // No window held a record of the source.
    assert_eq!(placed("v1 5f3a - - -", 0), (CompleteFrom::Ever, 10));
    assert_eq!(placed("v1 5f3a - - -", 11), (CompleteFrom::Unknown, 11));
    assert_eq!(placed("v1 5f3a x - -", 0), (CompleteFrom::Unknown, 10));
}
