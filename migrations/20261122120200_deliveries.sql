-- Deliveries and their attempts, range-partitioned by the delivery's uuid. Its first 48 bits are the notification's
-- milliseconds, so the primary keys stay global, a look-up by id reads one partition, and retention drops whole
-- days. The days themselves are made by the application, ahead of time; the default partitions catch what a wild
-- record time would otherwise stop.
--
-- No foreign keys: rows are written in batches at the rate of sending, and a webhook's row outlives its deliveries.

create table deliveries (
    id               uuid not null,
    notification_id  uuid not null,
    webhook_id       uuid not null,
    site_id          text collate "C" not null,
    event_type       text not null,
    origin           text not null,
    status           text not null,
    attempts         integer not null default 0,
    response_code    integer,
    failure_reason   text,
    next_retry_at    timestamptz,
    -- Set before a partition is handed over: the deadline of an attempt that is under way, and its number.
    claimed_until    timestamptz,
    claimed_attempt  integer,
    -- Set while the delivery waits here and not in Kafka.
    parked_until     timestamptz,
    parked_reason    text,
    -- The delivery that this one sends again.
    resend_of        uuid,
    -- The canonical body, byte for byte.
    payload          bytea,
    -- When the notification was made.
    created_at       timestamptz not null,
    first_attempt_at timestamptz,
    inserted_at      timestamptz not null,
    updated_at       timestamptz not null,
    constraint deliveries_pkey primary key (id),
    constraint deliveries_status check (status in ('pending', 'retrying', 'delivered', 'failed', 'cancelled')),
    constraint deliveries_origin check (origin in ('event', 'resend', 'recover', 'replay')),
    constraint deliveries_claim check ((claimed_until is null) = (claimed_attempt is null)),
    constraint deliveries_parked check ((parked_until is null) = (parked_reason is null))
) partition by range (id);

-- History, newest first.
create index deliveries_by_webhook on deliveries (webhook_id, id desc);
-- Few among many: what went wrong, and what is still open (disabling and deleting cancel it in one statement).
create index deliveries_missed_by_webhook on deliveries (webhook_id, id desc) where status in ('failed', 'cancelled');
create index deliveries_open_by_webhook on deliveries (webhook_id, id desc) where status in ('pending', 'retrying');

create table delivery_attempts (
    delivery_id      uuid not null,
    attempt          integer not null,
    -- Due, started, got headers, ended: what was late on our side and what was slow on theirs.
    due_at           timestamptz not null,
    started_at       timestamptz not null,
    headers_at       timestamptz,
    ended_at         timestamptz not null,
    status_code      integer,
    result           text not null,
    fault            text not null,
    error            text,
    -- The start of the answer, at most 16 KiB.
    response         bytea,
    -- Text, not inet: also the proxy's name where one is configured.
    remote_address   text,
    url_masked       text,
    possible_repeat  boolean not null default false,
    retry_at         timestamptz,
    dns_ms           integer,
    connect_ms       integer,
    tls_ms           integer,
    response_ms      integer,
    total_ms         integer,
    constraint delivery_attempts_pkey primary key (delivery_id, attempt),
    constraint delivery_attempts_number check (attempt >= 1),
    constraint delivery_attempts_fault check (fault in ('none', 'endpoint', 'own')),
    constraint delivery_attempts_result check (result in (
        '2xx', '3xx', '4xx', '410', '429', '5xx', 'dns', 'connect', 'tls', 'timeout', 'reset', 'body',
        'address_refused', 'internal'
    )),
    constraint delivery_attempts_response_size check (octet_length(response) <= 16384)
) partition by range (delivery_id);

create table deliveries_default partition of deliveries default;
create table delivery_attempts_default partition of delivery_attempts default;
