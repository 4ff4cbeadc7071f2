-- What belongs to the deployment as a whole.

create table deployment (
    -- One row.
    single           boolean not null default true,
    -- Key of the visitor hash, encrypted. It survives restarts and is shared by all replicas.
    visitor_hash_key bytea not null,
    inserted_at      timestamptz not null,
    constraint deployment_pkey primary key (single),
    constraint deployment_one_row check (single)
);

-- A known text under each encryption key that has written here, so that a missing key, or another key under the
-- same id, is noticed at start and not when the first webhook is due.
create table encryption_canaries (
    key_id      text not null,
    ciphertext  bytea not null,
    inserted_at timestamptz not null,
    constraint encryption_canaries_pkey primary key (key_id)
);
