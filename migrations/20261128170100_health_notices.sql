-- Changes of health that others are to hear of. Written by the statement that changes the health, so that none is lost
-- and none is told of that did not happen.

create table health_notices (
    id         bigint generated always as identity,
    webhook_id uuid not null,
    event_type text not null,
    reason     text,
    -- When the circuit opened, or the webhook was disabled.
    since      timestamptz not null,
    -- When the change was; with the webhook and the event type it names the notification.
    changed_at timestamptz not null,
    constraint health_notices_pkey primary key (id)
);

create function note_health_change() returns trigger language plpgsql as $$
begin
    if new.state = 'open' then
        insert into health_notices (webhook_id, event_type, reason, since, changed_at)
        values (new.webhook_id, 'webhook_failing', new.reason, new.since, new.since);
    elsif new.state <> 'disabled' then
        insert into health_notices (webhook_id, event_type, reason, since, changed_at)
        values (new.webhook_id, 'webhook_recovered', old.reason, old.since, new.since);
    end if;
    return null;
end
$$;

create trigger webhook_health_opened after insert on webhook_health
    for each row when (new.state = 'open') execute function note_health_change();
create trigger webhook_health_changed after update of state on webhook_health
    for each row when ((old.state = 'open') is distinct from (new.state = 'open')) execute function note_health_change();

create function note_disabled_webhook() returns trigger language plpgsql as $$
begin
    insert into health_notices (webhook_id, event_type, reason, since, changed_at)
    values (new.id, 'webhook_disabled', new.disabled_reason, new.disabled_at, new.disabled_at);
    return null;
end
$$;

create trigger webhooks_disabled_by_us after update of disabled_at on webhooks
    for each row when (old.disabled_at is null and new.disabled_at is not null)
    execute function note_disabled_webhook();

-- Notifications for the operator's own webhook, which is in the configuration and not among `webhooks`.
create table operator_notices (
    id          uuid not null,
    event_type  text not null,
    body        bytea not null,
    -- Attempts made.
    attempts    integer not null default 0,
    due_at      timestamptz not null,
    inserted_at timestamptz not null default now(),
    constraint operator_notices_pkey primary key (id)
);
create index operator_notices_due on operator_notices (due_at);
