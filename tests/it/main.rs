//! The whole against real Kafka and real Postgres. `make test` starts both and says where they are.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests start processes, read the environment and look at clocks"
)]

mod support;
