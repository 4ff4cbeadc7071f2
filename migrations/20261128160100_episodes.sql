-- Episodes of triggers, suppressed ones too: the history of alerts.

create table episodes (
    id              uuid not null,
    site_id         text collate "C" not null,
    event_type      text not null,
    -- The settings of the trigger, as the API shows them.
    trigger         jsonb not null,
    -- Webhooks that had the trigger when the episode began.
    webhook_ids     uuid[] not null,
    started_at      timestamptz not null,
    -- When the trigger was armed again; null while the episode lasts.
    ended_at        timestamptz,
    -- The highest count of the episode, the lowest of a drop.
    peak            bigint not null,
    -- The figure that was reached.
    threshold       double precision,
    -- What was usual when the episode began.
    expected        double precision,
    -- 1 and more is a deviation that fires by itself.
    score           double precision,
    -- Null while nobody was notified.
    notification_id uuid,
    suppressed      boolean not null generated always as (notification_id is null) stored,
    updated_at      timestamptz not null,
    constraint episodes_pkey primary key (id),
    constraint episodes_end check (ended_at is null or ended_at >= started_at)
);

-- History, newest first.
create index episodes_by_site on episodes (site_id, started_at desc, id desc);
-- Few among many: those that last.
create index episodes_open_by_site on episodes (site_id) where ended_at is null;
