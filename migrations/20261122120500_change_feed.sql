-- How a change of configuration reaches every replica.
--
-- A row here says: this transaction changed this site, or a goal, a webhook or a secret of it. A reader keeps the
-- xmin of the snapshot of its last look: every transaction below it had ended and was seen, so whatever it can have
-- missed carries an id at or above it. A sequence or a time would not do: the transaction that drew the lower number
-- may commit last, and would never be seen. Rows are only ever added, so two changes never wait for each other here,
-- and a deletion is a row like any other. Rows older than the readers' full re-read are purged.

create table config_changes (
    changed_xid xid8 not null default pg_current_xact_id(),
    site_id     text collate "C" not null,
    changed_at  timestamptz not null default now()
);

create index config_changes_by_xid on config_changes (changed_xid);

create function note_config_change() returns trigger language plpgsql as $$
declare
    changed text;
begin
    if tg_table_name = 'webhook_secrets' then
        -- Nothing is found while a webhook's row takes its secrets along; that row's own trigger reports it.
        select site_id into changed from webhooks
        where id = case when tg_op = 'DELETE' then old.webhook_id else new.webhook_id end;
    elsif tg_op = 'DELETE' then
        changed := old.site_id;
    else
        changed := new.site_id;
    end if;
    if changed is not null then
        insert into config_changes (site_id) values (changed);
        -- A hint: readers look every second anyway. One a transaction, however many rows it changes.
        perform pg_notify('bellwether_config', '');
    end if;
    return null;
end
$$;

create trigger sites_added_or_removed after insert or delete on sites
    for each row execute function note_config_change();
-- Not for last_event_at, which moves with the events.
create trigger sites_changed after update on sites
    for each row when (
        (old.name, old.time_zone, old.aliases, old.first_event_at)
        is distinct from (new.name, new.time_zone, new.aliases, new.first_event_at)
    )
    execute function note_config_change();

create trigger goals_changed after insert or update or delete on goals
    for each row execute function note_config_change();

create trigger webhooks_added_or_removed after insert or delete on webhooks
    for each row execute function note_config_change();
-- Every column but the deliverer's four: nothing here may be notified at the rate of sending.
create trigger webhooks_changed after update on webhooks
    for each row when (
        (old.site_id, old.name, old.url, old.headers, old.format, old.events, old.triggers, old.enabled,
         old.disabled_at, old.disabled_reason, old.failure_threshold, old.rate_limit_per_second, old.max_concurrency,
         old.retry_schedule, old.max_age_seconds, old.active_since, old.inserted_at, old.updated_at, old.deleted_at)
        is distinct from
        (new.site_id, new.name, new.url, new.headers, new.format, new.events, new.triggers, new.enabled,
         new.disabled_at, new.disabled_reason, new.failure_threshold, new.rate_limit_per_second, new.max_concurrency,
         new.retry_schedule, new.max_age_seconds, new.active_since, new.inserted_at, new.updated_at, new.deleted_at)
    )
    execute function note_config_change();

create trigger webhook_secrets_changed after insert or update or delete on webhook_secrets
    for each row execute function note_config_change();
