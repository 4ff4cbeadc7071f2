words! {
    /// Sides of a street.
    enum Side {
        /// Towards the sunrise.
        East = "east",
        FarWest = "far_west",
    }
}

#[test]
fn a_word_is_written_and_read_the_same_everywhere() {
    for side in Side::ALL {
        assert_eq!(side.to_string(), side.as_str());
        assert_eq!(side.as_str().parse(), Ok(side));
        let json = serde_json::to_string(&side).expect("JSON");
        assert_eq!(json, format!("\"{side}\""));
        assert_eq!(serde_json::from_str::<Side>(&json).expect("read"), side);
    }
    assert_eq!(Side::WORDS, ["east", "far_west"]);
}

#[test]
fn an_unknown_word_is_refused_with_the_allowed_ones() {
    let error = "north".parse::<Side>().expect_err("refused");
    assert_eq!(error.to_string(), "`north` is none of east, far_west");
    let error = serde_json::from_str::<Side>("\"x\"").expect_err("refused");
    assert!(
        error.to_string().contains("expected `east` or `far_west`"),
        "{error}"
    );
}
