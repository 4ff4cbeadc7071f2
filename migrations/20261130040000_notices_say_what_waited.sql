-- The deliveries that waited when a webhook was disabled: they are cancelled before anybody is told.

-- Null for every other notice: how many wait is looked up when it is told.
alter table health_notices add column waiting bigint;

create or replace function note_disabled_webhook() returns trigger language plpgsql as $$
begin
    insert into health_notices (webhook_id, event_type, reason, since, changed_at, waiting)
    values (new.id, 'webhook_disabled', new.disabled_reason, new.disabled_at, new.disabled_at,
        (select waiting from webhook_health where webhook_id = new.id));
    return null;
end
$$;
