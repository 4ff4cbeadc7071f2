-- Writes outcomes and their attempts, and parks or unparks. A row of `outcome` is one delivery; without an attempt, the
-- columns from due_at on are null, and those of the parked row without one.
with outcome as (
    select * from unnest(
        $1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::timestamptz[],
        $9::text[], $10::int[], $11::int[], $12::text[], $13::timestamptz[], $14::timestamptz[],
        $15::timestamptz[], $16::timestamptz[], $17::timestamptz[], $18::timestamptz[], $19::int[], $20::text[],
        $21::text[], $22::text[], $23::bytea[], $24::text[], $25::text[], $26::bool[],
        $27::int[], $28::int[], $29::int[], $30::int[], $31::int[],
        $32::int[], $33::int[], $34::timestamptz[], $35::timestamptz[], $36::text[], $37::int[], $38::bigint[],
        $39::timestamptz[], $40::uuid[]
    ) as o (
        id, notification_id, webhook_id, site_id, event_type, origin, payload, created_at,
        status, attempts, response_code, failure_reason, next_retry_at, first_attempt_at,
        due_at, started_at, headers_at, ended_at, status_code, result,
        fault, error, response, remote_address, url_masked, possible_repeat,
        dns_ms, connect_ms, tls_ms, response_ms, total_ms,
        step, partition, park_due_at, park_shown_until, park_reason, park_attempt, paused_ms, park_claimed_until,
        resend_of
    )
), taken as (
    insert into deliveries as d (
        id, notification_id, webhook_id, site_id, event_type, origin, payload, created_at,
        status, attempts, response_code, failure_reason, next_retry_at, first_attempt_at, step,
        parked_until, parked_reason, resend_of, inserted_at, updated_at
    )
    select id, notification_id, webhook_id, site_id, event_type, origin, payload, created_at,
           status, attempts, response_code, failure_reason, next_retry_at, first_attempt_at, step,
           -- A failed delivery keeps its row of `parked` until its dead letter is published: it waits for nothing.
           case when status in ('pending', 'retrying') then park_shown_until end,
           case when status in ('pending', 'retrying') then park_reason end, resend_of, now(), now()
    from outcome
    -- An erased site's records in Kafka leave no row behind.
    where failure_reason is distinct from 'deleted' or exists (select from webhooks where webhooks.id = webhook_id)
    order by id
    on conflict (id) do update set
        status = case
            when d.status <> 'cancelled' or excluded.status = 'delivered' then excluded.status else d.status end,
        attempts = excluded.attempts, response_code = excluded.response_code,
        failure_reason = case
            when d.status <> 'cancelled' or excluded.status = 'delivered' then excluded.failure_reason
            else d.failure_reason end,
        next_retry_at = case when d.status <> 'cancelled' then excluded.next_retry_at end,
        first_attempt_at = coalesce(d.first_attempt_at, excluded.first_attempt_at),
        step = excluded.step,
        -- Parked without an attempt, it may still be claimed by the owner before.
        claimed_until = case when d.attempts < excluded.attempts then null else d.claimed_until end,
        claimed_attempt = case when d.attempts < excluded.attempts then null else d.claimed_attempt end,
        -- A record's retry leaves the row that another owner has parked meanwhile: its record is complete, and what
        -- this owner is about to publish may never come.
        parked_until = case
            when d.status = 'cancelled' then null
            when excluded.status = 'retrying' and excluded.parked_reason is null and d.parked_reason is not null
                then excluded.next_retry_at
            else excluded.parked_until end,
        parked_reason = case
            when d.status = 'cancelled' then null
            when excluded.status = 'retrying' then coalesce(excluded.parked_reason, d.parked_reason)
            else excluded.parked_reason end,
        updated_at = now()
    where d.status in ('pending', 'retrying', 'cancelled')
      and (d.attempts < excluded.attempts
           -- An end without a request adds no attempt.
           or (d.status <> 'cancelled' and d.attempts = excluded.attempts
               and (excluded.failure_reason in ('expired', 'overflow', 'disabled', 'deleted')
                    -- Nor does parking.
                    or excluded.parked_reason is not null)))
    returning d.id, d.status, d.next_retry_at as retry_at
), parked_now as (
    insert into parked as p (
        delivery_id, webhook_id, partition, due_at, reason, attempt, step, paused_ms, claimed_until, has_ended
    )
    select o.id, webhook_id, partition, park_due_at, park_reason, park_attempt, step, paused_ms, park_claimed_until,
           taken.status = 'failed'
    from outcome o join taken on taken.id = o.id
    where park_due_at is not null and taken.status <> 'cancelled'
    order by o.id
    on conflict (delivery_id) do update set
        due_at = excluded.due_at, reason = excluded.reason, attempt = excluded.attempt, step = excluded.step,
        paused_ms = excluded.paused_ms, parked_at = now(), has_ended = excluded.has_ended,
        claimed_until = case
            when p.claimed_until > now() and p.claimed_until is distinct from
                ($41::timestamptz[])[array_position($1::uuid[], excluded.delivery_id)]
                then p.claimed_until
            else excluded.claimed_until end
    -- Another owner has claimed the row and works on it: it stays as it is, unless its attempt is made.
    where p.attempt < excluded.attempt
       or excluded.has_ended
       or (p.claimed_until > now() and p.claimed_until is distinct from
               ($41::timestamptz[])[array_position($1::uuid[], excluded.delivery_id)]) is not true
), kept as (
    -- It goes on with the next attempt, or with the dead letter.
    update parked set
        due_at = coalesce(o.next_retry_at, now()), step = o.step, has_ended = taken.status = 'failed',
        -- Another owner works on it, and will find that it has gone on.
        claimed_until = case when parked.claimed_until > now() then parked.claimed_until end,
        attempt = case when o.status = 'retrying' then o.attempts + 1 else parked.attempt end
    from outcome o join taken on taken.id = o.id
    where parked.delivery_id = o.id and o.park_due_at is null and taken.status in ('retrying', 'failed')
), unparked as (
    delete from parked using outcome o join taken on taken.id = o.id
    where parked.delivery_id = o.id
      and (taken.status = 'cancelled' or (park_due_at is null and taken.status not in ('retrying', 'failed')))
), attempted as (
    insert into delivery_attempts (
        delivery_id, attempt, due_at, started_at, headers_at, ended_at, status_code, result, fault, error, response,
        remote_address, url_masked, possible_repeat, retry_at, dns_ms, connect_ms, tls_ms, response_ms, total_ms
    )
    select o.id, attempts, due_at, started_at, headers_at, ended_at, status_code, result, fault, error, response,
           remote_address, url_masked, possible_repeat, retry_at, dns_ms, connect_ms, tls_ms, response_ms, total_ms
    from outcome o join taken on taken.id = o.id
    where started_at is not null
    on conflict (delivery_id, attempt) do nothing
), sent_twice as (
    -- Another owner has sent the same attempt, and recorded it first.
    update delivery_attempts as a set possible_repeat = true
    from outcome o
    where a.delivery_id = o.id and a.attempt = o.attempts and a.started_at <> o.started_at
      and not exists (select from taken where taken.id = o.id)
)
select id as "id!", status as "status!" from taken
