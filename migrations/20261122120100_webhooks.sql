-- A site's endpoints. A deleted webhook keeps its row, so that its history can still be read, but nothing secret:
-- the address, the headers and the secrets go in the statement that deletes it.
--
-- Address, headers and secrets are ciphertext made by the application, bound to table, column and row: a dump or
-- a reader of this table learns none of them, and none works when copied to another place.

create table webhooks (
    id                    uuid not null,
    site_id               text collate "C" not null,
    name                  text not null,
    url                   bytea,
    headers               bytea,
    format                text not null default 'json',
    -- Subscribed event types, in the order their owner gave.
    events                text[] not null,
    -- Settings by event type; types without any have no key.
    triggers              jsonb not null default '{}',
    -- The owner's switch. disabled_* is ours: an endpoint that is gone, or that did not answer for days.
    enabled               boolean not null,
    disabled_at           timestamptz,
    disabled_reason       text,
    failure_threshold     integer not null,
    -- Null means no limit.
    rate_limit_per_second integer,
    max_concurrency       integer not null,
    retry_schedule        text not null,
    -- Null means the event type's own limit.
    max_age_seconds       integer,
    -- Events whose record is older do not reach the webhook: its creation or last enabling.
    active_since          timestamptz not null,
    -- Health, written by the deliverer. These four columns alone may change without the change feed noticing.
    circuit               text not null default 'closed',
    circuit_reason        text,
    last_success_at       timestamptz,
    consecutive_failures  integer not null default 0,
    inserted_at           timestamptz not null,
    updated_at            timestamptz not null,
    deleted_at            timestamptz,
    constraint webhooks_pkey primary key (id),
    constraint webhooks_site_fkey foreign key (site_id) references sites (site_id) on delete cascade,
    constraint webhooks_circuit check (circuit in ('closed', 'probing', 'open')),
    constraint webhooks_disabled check ((disabled_at is null) = (disabled_reason is null)),
    constraint webhooks_url_until_deleted check ((deleted_at is null) = (url is not null)),
    constraint webhooks_headers_until_deleted check (deleted_at is null or headers is null),
    constraint webhooks_limits check (
        failure_threshold > 0 and max_concurrency > 0 and rate_limit_per_second > 0 and max_age_seconds > 0
    )
-- Room on the page, so that writing health does not move the row.
) with (fillfactor = 70);

create index webhooks_live_by_site on webhooks (site_id) where deleted_at is null;

create table webhook_secrets (
    webhook_id  uuid not null,
    -- next: during a rotation's overlap, the new one.
    role        text not null,
    secret      bytea not null,
    inserted_at timestamptz not null,
    constraint webhook_secrets_pkey primary key (webhook_id, role),
    constraint webhook_secrets_webhook_fkey foreign key (webhook_id) references webhooks (id) on delete cascade,
    constraint webhook_secrets_role check (role in ('current', 'next'))
);
