//! The words of metric labels that no other part of the crate has.

use crate::domain::words::words;

words! {
    /// Consumer group, by the role that reads it.
    pub(crate) enum Group {
        Route = "route",
        Detect = "detect",
        Deliver = "deliver",
    }
}

words! {
    /// Event of a rebalance.
    pub(crate) enum Rebalance {
        Assigned = "assigned",
        Revoked = "revoked",
        /// Taken away without notice: others may own the partitions already.
        Lost = "lost",
    }
}

words! {
    /// Bounded map of the detector.
    pub(crate) enum BoundedMap {
        Visitors = "visitors",
        Sources = "sources",
        Pages = "pages",
        /// Names of goals and custom events that are counted.
        Names = "names",
        /// Rows that wait for Postgres.
        History = "history",
        /// Rows of episodes that a site's state keeps until they are in Postgres.
        EpisodeRows = "episode_rows",
    }
}

words! {
    /// Reason why a notification was decided and not sent.
    pub(crate) enum SuppressReason {
        /// Too old.
        Stale = "stale",
        /// Too soon after the last one, by `min_interval_seconds`.
        MinInterval = "min_interval",
        /// Taken up in the summary of its minute.
        Summarised = "summarised",
    }
}

words! {
    /// Kind of an error of a Kafka client.
    pub(crate) enum KafkaErrorKind {
        Transport = "transport",
        Auth = "auth",
        Timeout = "timeout",
        Coordinator = "coordinator",
        Fatal = "fatal",
        Other = "other",
    }
}

words! {
    /// Kind of an attempt.
    pub(crate) enum AttemptKind {
        First = "first",
        Retry = "retry",
    }
}

words! {
    /// Limit that a delivery waited for.
    pub(crate) enum WaitCause {
        /// The endpoint's own concurrency or rate.
        Endpoint = "endpoint",
        Site = "site",
        Host = "host",
        Process = "process",
    }
}

words! {
    /// Part of an exchange over HTTP.
    pub(crate) enum Phase {
        Dns = "dns",
        Connect = "connect",
        Tls = "tls",
        Response = "response",
        Total = "total",
    }
}

words! {
    /// Operation on Postgres.
    pub(crate) enum PostgresOp {
        /// Look-ups of known deliveries before they are sent.
        Known = "known",
        Outcomes = "outcomes",
        /// Reading the configuration of sites and webhooks.
        Config = "config",
        Activity = "activity",
        /// Looking at, claiming and cancelling what is parked.
        Unpark = "unpark",
        /// Health of webhooks.
        Circuits = "circuits",
        ApiRead = "api_read",
        ApiWrite = "api_write",
        /// Dropping old history.
        Retention = "retention",
        /// Work on the whole database that a session lock keeps to one process.
        Jobs = "jobs",
    }
}

words! {
    /// Kind of an error of Postgres.
    pub(crate) enum PostgresErrorKind {
        Timeout = "timeout",
        Connection = "connection",
        Other = "other",
    }
}

words! {
    /// Condition of readiness.
    pub enum ReadyCheck {
        Postgres = "postgres",
        Kafka = "kafka",
        /// Partitions were assigned to every member.
        Assignment = "assignment",
        Schema = "schema",
        Keys = "keys",
    }
}

words! {
    /// Part of the service that a process can run.
    #[derive(clap::ValueEnum)]
    pub(crate) enum ProcessRole {
        /// Sources that are not keyed by site, keyed anew.
        Route = "route",
        /// Windows, goals and triggers.
        Detect = "detect",
        /// Signed requests and their outcomes.
        Deliver = "deliver",
        /// The REST API.
        Api = "api",
    }
}

words! {
    /// Limit for which the first request of a delivery waited, if any.
    pub(crate) enum WaitedFor {
        Nothing = "no",
        /// The endpoint's, or that of its site or host.
        Endpoint = "endpoint",
    }
}

words! {
    /// Outcome of one try to notify the operator.
    pub(crate) enum NoticeOutcome {
        Delivered = "delivered",
        Retried = "retried",
        Failed = "failed",
    }
}

words! {
    /// State of a pooled connection to Postgres.
    pub(crate) enum ConnectionState {
        Idle = "idle",
        Used = "used",
    }
}

words! {
    /// Table of the history, which is dropped by whole days.
    pub(crate) enum HistoryTable {
        Deliveries = "deliveries",
        DeliveryAttempts = "delivery_attempts",
    }
}

words! {
    /// Class of a request to the API.
    pub(crate) enum RequestClass {
        Read = "read",
        Write = "write",
    }
}

words! {
    /// Limit on the rate of requests to the API.
    pub(crate) enum RateLimit {
        /// Of one token.
        Token = "token",
        /// On failed logins.
        Login = "login",
    }
}

words! {
    /// Level of log lines that are counted.
    pub(crate) enum LoudLevel {
        Warn = "warn",
        Error = "error",
    }
}
