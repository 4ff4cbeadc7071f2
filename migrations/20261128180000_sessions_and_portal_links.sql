-- Sessions of the pages, and links that open them: tokens of other kinds, each made with the right of its parent.

alter table api_tokens add column kind text not null default 'token';
alter table api_tokens add constraint api_tokens_kind check (kind in ('token', 'session', 'portal_link'));
-- The token or link that a session was opened with, the token that a link was made with.
alter table api_tokens add column parent uuid
    constraint api_tokens_parent references api_tokens on delete cascade;
-- A link opens one session.
alter table api_tokens add column spent_at timestamptz;
-- A session ends with its parent; the command line makes links without one.
alter table api_tokens add constraint api_tokens_session
    check (kind <> 'session' or parent is not null and expires_at is not null);
create index api_tokens_by_parent on api_tokens (parent) where parent is not null;

-- Lists show tokens only.
drop index api_tokens_live;
create index api_tokens_live on api_tokens (id desc) where revoked_at is null and kind = 'token';
