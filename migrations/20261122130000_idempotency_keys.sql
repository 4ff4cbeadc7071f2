-- What a POST with an Idempotency-Key has come to, for a day. A row without a status is a request that is under way, or
-- whose process died on it.

create table idempotency_keys (
    token_id     uuid not null,
    -- The call, with its ids as we write them.
    path         text not null,
    key          text not null,
    -- SHA-256 of the request's body, encrypted: the body may hold a secret that is short enough to be guessed.
    request_hash bytea not null,
    -- The try that may write the result; drawn anew when a dead one is taken over.
    holder       uuid not null,
    claimed_at   timestamptz not null,
    -- The answer, without anything secret.
    status       smallint,
    location     text,
    body         text,
    constraint idempotency_keys_pkey primary key (token_id, path, key),
    constraint idempotency_keys_result check ((status is null) = (body is null))
);

-- For the purge.
create index idempotency_keys_by_claim on idempotency_keys (claimed_at);
