-- Health of endpoints, apart from their settings, and deliveries that wait here and not in Kafka.

-- How far a delivery has come in its retry schedule. Unlike the number of attempts it does not always grow.
alter table deliveries add column step integer not null default 0;
-- Until now every attempt was a step.
update deliveries set step = attempts where status = 'retrying';

-- Until then everything for the webhook is held back.
alter table webhooks add column if not exists paused_until timestamptz;

-- One row a webhook, written by the deliverer that owns it, so that an edit never waits for an outcome.
create table webhook_health (
    webhook_id           uuid not null,
    state                text not null default 'new',
    reason               text,
    -- When the state began.
    since                timestamptz not null default now(),
    -- Deliveries in a row that failed for good.
    consecutive_failures integer not null default 0,
    -- Attempts in a row without an answer.
    unanswered           integer not null default 0,
    last_success_at      timestamptz,
    -- While the circuit is open.
    next_probe_at        timestamptz,
    probes_failed        integer not null default 0,
    -- Rows of `parked`, counted by its triggers.
    waiting              bigint not null default 0,
    updated_at           timestamptz not null default now(),
    constraint webhook_health_pkey primary key (webhook_id),
    constraint webhook_health_state check (state in ('new', 'ok', 'careful', 'open', 'disabled')),
    constraint webhook_health_reason check (reason in ('failures', 'timeouts', 'gone', 'open_too_long', 'owner'))
) with (fillfactor = 50);

-- What is not as it is for a new webhook: read whenever a process takes partitions.
create index webhook_health_notable on webhook_health (webhook_id)
    where state in ('careful', 'open', 'disabled') or consecutive_failures > 0 or unanswered > 0;

insert into webhook_health (webhook_id, state, reason, since, consecutive_failures, last_success_at)
select id,
       case when disabled_at is not null then 'disabled' when last_success_at is null then 'new' else 'ok' end,
       disabled_reason, coalesce(disabled_at, now()), consecutive_failures, last_success_at
from webhooks where deleted_at is null;

-- The columns of `webhooks` from before are not read any more; they go with the version after next.
alter table webhooks drop constraint webhooks_circuit;

-- A delivery that waits for anything but its retry schedule. Not partitioned: small, and empty when all is well.
create table parked (
    delivery_id   uuid not null,
    webhook_id    uuid not null,
    -- The number of the Kafka partition that the webhook's records lie in: its owner sends this row.
    partition     integer not null,
    -- Not sent before then. Circuit, pause and rate hold back by webhook, not by row.
    due_at        timestamptz not null,
    reason        text not null,
    -- The attempt to be made, and its step.
    attempt       integer not null,
    step          integer not null,
    -- Milliseconds that the delivery has been paused, which its age does not count.
    paused_ms     bigint not null default 0,
    -- While a process works on it: when that has surely ended. In the past: that process died on it.
    claimed_until timestamptz,
    parked_at     timestamptz not null default now(),
    constraint parked_pkey primary key (delivery_id),
    constraint parked_reason check (reason in ('queue', 'rate', 'circuit', 'paused', 'far_due', 'resend', 'recover')),
    constraint parked_attempt check (attempt >= 1 and step >= 0)
) with (fillfactor = 70);

-- From one waiting webhook of a partition to the next, and what is due longest of each.
create index parked_by_partition on parked (partition, webhook_id, due_at);
create index parked_by_webhook on parked (webhook_id, due_at, delivery_id);
create index parked_claimed on parked (partition) where claimed_until is not null;

-- Counts what waits for each webhook, whoever parks or removes it: nobody ever counts rows.
create function count_parked() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        -- Older than what any deliverer writes.
        insert into webhook_health as h (webhook_id, waiting, updated_at)
        select webhook_id, count(*), 'epoch' from changed group by webhook_id order by webhook_id
        on conflict (webhook_id) do update set waiting = h.waiting + excluded.waiting;
    else
        with removed as (select webhook_id, count(*) as rows from changed group by webhook_id),
        locked as (
            select h.webhook_id, removed.rows from webhook_health h join removed on removed.webhook_id = h.webhook_id
            order by h.webhook_id for no key update of h
        )
        update webhook_health h set waiting = greatest(h.waiting - locked.rows, 0)
        from locked where h.webhook_id = locked.webhook_id;
    end if;
    return null;
end
$$;

create trigger parked_added after insert on parked referencing new table as changed
    for each statement execute function count_parked();
create trigger parked_removed after delete on parked referencing old table as changed
    for each statement execute function count_parked();
