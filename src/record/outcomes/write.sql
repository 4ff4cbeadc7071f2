-- Writes outcomes and their attempts. A row of `outcome` is one delivery; without an attempt, the columns from
-- due_at on are null.
with outcome as (
    select * from unnest(
        $1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::timestamptz[],
        $9::text[], $10::int[], $11::int[], $12::text[], $13::timestamptz[], $14::timestamptz[],
        $15::timestamptz[], $16::timestamptz[], $17::timestamptz[], $18::timestamptz[], $19::int[], $20::text[],
        $21::text[], $22::text[], $23::bytea[], $24::text[], $25::text[], $26::bool[],
        $27::int[], $28::int[], $29::int[], $30::int[], $31::int[]
    ) as o (
        id, notification_id, webhook_id, site_id, event_type, origin, payload, created_at,
        status, attempts, response_code, failure_reason, next_retry_at, first_attempt_at,
        due_at, started_at, headers_at, ended_at, status_code, result,
        fault, error, response, remote_address, url_masked, possible_repeat,
        dns_ms, connect_ms, tls_ms, response_ms, total_ms
    )
), taken as (
    insert into deliveries as d (
        id, notification_id, webhook_id, site_id, event_type, origin, payload, created_at,
        status, attempts, response_code, failure_reason, next_retry_at, first_attempt_at,
        inserted_at, updated_at
    )
    select id, notification_id, webhook_id, site_id, event_type, origin, payload, created_at,
           status, attempts, response_code, failure_reason, next_retry_at, first_attempt_at, now(), now()
    from outcome
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
        claimed_until = null, claimed_attempt = null, parked_until = null, parked_reason = null,
        updated_at = now()
    where d.status in ('pending', 'retrying', 'cancelled')
      and (d.attempts < excluded.attempts
           -- An end without a request adds no attempt.
           or (d.status <> 'cancelled' and d.attempts = excluded.attempts
               and excluded.failure_reason in ('expired', 'overflow', 'disabled', 'deleted')))
    returning d.id, d.status, d.next_retry_at as retry_at
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
)
select id as "id!", status as "status!" from taken
