-- Tokens that end, secrets whose overlap ends, fields of webhooks, and long work that a call begins.

-- Null means never.
alter table api_tokens add column expires_at timestamptz;
-- For lists, newest first.
create index api_tokens_live on api_tokens (id desc) where revoked_at is null;

-- Of the role `next`: until then both secrets sign, afterwards it takes the place of the other one.
alter table webhook_secrets add column overlap_until timestamptz;
update webhook_secrets set overlap_until = inserted_at + interval '1 day' where role = 'next';
alter table webhook_secrets add constraint webhook_secrets_overlap
    check ((role = 'next') = (overlap_until is not null));
-- For the end of overlaps.
create index webhook_secrets_overlap_until on webhook_secrets (overlap_until) where role = 'next';

-- The owner's own id for the webhook.
alter table webhooks add column external_id text;
create unique index webhooks_external_id on webhooks (site_id, external_id) where deleted_at is null;
alter table webhooks add column if not exists paused_until timestamptz;

-- A site's own switch for paths in what is sent.
alter table sites add column include_paths boolean not null default true;

-- Work that is too long for a request. A process takes a job by moving `due_at` ahead; if it dies, another one takes
-- the job then.
create table jobs (
    id          uuid not null,
    kind        text not null,
    site_id     text collate "C" not null,
    webhook_id  uuid,
    status      text not null,
    -- recover: the time of notifications that it covers.
    since       timestamptz,
    until       timestamptz,
    -- How far it has come, and what it still needs to know.
    progress    jsonb not null default '{}',
    total       integer not null default 0,
    sent        integer not null default 0,
    skipped     integer not null default 0,
    due_at      timestamptz not null,
    inserted_at timestamptz not null,
    updated_at  timestamptz not null,
    ended_at    timestamptz,
    constraint jobs_pkey primary key (id),
    constraint jobs_kind check (kind in ('erase', 'recover')),
    constraint jobs_status check (status in ('running', 'finished', 'cancelled', 'failed')),
    constraint jobs_ended check ((status = 'running') = (ended_at is null))
);

create index jobs_due on jobs (due_at) where status = 'running';
create index jobs_by_webhook on jobs (webhook_id, id desc);

drop trigger webhooks_changed on webhooks;
create trigger webhooks_changed after update on webhooks
    for each row when (
        (old.site_id, old.name, old.url, old.headers, old.format, old.events, old.triggers, old.enabled,
         old.disabled_at, old.disabled_reason, old.failure_threshold, old.rate_limit_per_second, old.max_concurrency,
         old.retry_schedule, old.max_age_seconds, old.active_since, old.inserted_at, old.updated_at, old.deleted_at,
         old.external_id, old.paused_until)
        is distinct from
        (new.site_id, new.name, new.url, new.headers, new.format, new.events, new.triggers, new.enabled,
         new.disabled_at, new.disabled_reason, new.failure_threshold, new.rate_limit_per_second, new.max_concurrency,
         new.retry_schedule, new.max_age_seconds, new.active_since, new.inserted_at, new.updated_at, new.deleted_at,
         new.external_id, new.paused_until)
    )
    execute function note_config_change();

drop trigger sites_changed on sites;
create trigger sites_changed after update on sites
    for each row when (
        (old.name, old.time_zone, old.aliases, old.first_event_at, old.include_paths)
        is distinct from (new.name, new.time_zone, new.aliases, new.first_event_at, new.include_paths)
    )
    execute function note_config_change();
