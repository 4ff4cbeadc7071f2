-- Who may call the API, and what they changed.

create table api_tokens (
    id           uuid not null,
    -- SHA-256 of the token; the token itself is shown once and kept nowhere.
    token_hash   bytea not null,
    -- The first characters, to tell tokens apart in lists.
    prefix       text not null,
    -- Whom the audit log names.
    subject      text not null,
    admin        boolean not null default false,
    sites        text[] collate "C" not null default '{}',
    role         text not null,
    inserted_at  timestamptz not null,
    -- Written at most once a minute.
    last_used_at timestamptz,
    revoked_at   timestamptz,
    constraint api_tokens_pkey primary key (id),
    constraint api_tokens_hash_unique unique (token_hash),
    constraint api_tokens_hash_size check (octet_length(token_hash) = 32),
    constraint api_tokens_role check (role in ('viewer', 'editor')),
    constraint api_tokens_scope check (admin = (cardinality(sites) = 0))
);

create table audit_log (
    id       bigint generated always as identity,
    at       timestamptz not null,
    -- Null for the command line.
    token_id uuid,
    subject  text not null,
    action   text not null,
    site_id  text collate "C",
    -- The id of what was changed, as the API shows it.
    object   text,
    -- Names of fields, never values.
    detail   jsonb not null default '{}',
    constraint audit_log_pkey primary key (id)
);

create index audit_log_by_site on audit_log (site_id, id desc);
