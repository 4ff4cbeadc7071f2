-- A function that fills the history of one webhook, for measurements. It is gone at the end of the session.
--
-- Rows are those that a deliverer writes: spread evenly over the days until now, in the partitions of their days, each
-- with a body of some 200 bytes. One in a hundred failed, one in two hundred was cancelled, one in a thousand is a spike.
-- The attempts of one in `attempts_of` deliveries come with them.
create or replace function pg_temp.fill_history(
    of_webhook uuid, of_site text, first_row bigint, last_row bigint, all_rows bigint, days int, attempts_of int
) returns void language plpgsql as $$
declare
    day     date;
    low     text;
    high    text;
    parent  text;
    now_ms  bigint := (extract(epoch from date_trunc('second', now())) * 1000)::bigint;
begin
    for day in select generate_series((now() at time zone 'utc')::date - days - 1, (now() at time zone 'utc')::date, '1 day')::date loop
        low := lpad(to_hex((extract(epoch from day::timestamp) * 1000)::bigint), 12, '0') || repeat('0', 20);
        high := lpad(to_hex((extract(epoch from day::timestamp) * 1000 + 86400000)::bigint), 12, '0') || repeat('0', 20);
        foreach parent in array array['deliveries', 'delivery_attempts'] loop
            execute format('create table if not exists %I partition of %I for values from (%L) to (%L)',
                parent || '_p' || to_char(day, 'YYYYMMDD'), parent, low::uuid, high::uuid);
        end loop;
    end loop;

    insert into deliveries (id, notification_id, webhook_id, site_id, event_type, origin, status, attempts, response_code,
        failure_reason, payload, created_at, first_attempt_at, inserted_at, updated_at)
    select id, notification, of_webhook, of_site, event, 'event', status,
        case status when 'cancelled' then 0 when 'failed' then 4 else 1 end,
        case status when 'cancelled' then null when 'failed' then 500 else 200 end,
        case status when 'cancelled' then 'disabled' when 'failed' then 'exhausted' end,
        convert_to(format('{"id":"%s","event":"%s","site_id":"%s","timestamp":"%s","data":{"goal_name":"Signup","visitor_count":1,"path":"/n/%s"}}',
            notification, event, of_site, at, n), 'UTF8'),
        at, at, at, at
    from (
        select n, to_timestamp(ms / 1000.0) as at,
            (lpad(to_hex(ms), 12, '0') || '8' || substr(hash, 1, 3) || '8' || substr(hash, 4, 15))::uuid as id,
            (lpad(to_hex(ms), 12, '0') || '8' || substr(hash, 18, 3) || '9' || substr(hash, 4, 15))::uuid as notification,
            case when n % 1000 = 7 then 'visitor_spike' when n % 5 < 3 then 'goal_completion' else 'custom_event' end as event,
            case when n % 100 = 3 then 'failed' when n % 200 = 5 then 'cancelled' else 'delivered' end as status
        from (
            select n, md5(n::text) as hash, now_ms - (all_rows - n) * (days * 86400000::bigint / all_rows) as ms
            from generate_series(first_row, last_row) n
        ) numbered
    ) made;

    insert into delivery_attempts (delivery_id, attempt, due_at, started_at, headers_at, ended_at, status_code, result, fault,
        url_masked, total_ms)
    select id, attempt, created_at, created_at, created_at, created_at, response_code,
        case response_code when 200 then '2xx' else '5xx' end, case response_code when 200 then 'none' else 'endpoint' end,
        'https://hooks.example.com/…9f2c', 90
    from deliveries, generate_series(1, attempts) attempt
    where webhook_id = of_webhook and id >= (lpad(to_hex(now_ms - (all_rows - first_row + 1) * (days * 86400000::bigint / all_rows)), 12, '0') || repeat('0', 20))::uuid
        and get_byte(uuid_send(id), 15) % attempts_of = 0
    on conflict do nothing;
end
$$;
