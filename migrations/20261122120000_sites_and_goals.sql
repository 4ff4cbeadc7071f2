-- What events belong to, and what a site counts as a success.
--
-- Site ids are compared byte by byte (collate "C"): they are opaque to us, and pages of sites must come in one order
-- whatever locale a cluster was made with. Every column that holds a site id says so, or joins would not be allowed.

create table sites (
    site_id        text collate "C" not null,
    name           text,
    time_zone      text not null default 'UTC',
    -- Other ids that mean this site.
    aliases        text[] collate "C" not null default '{}',
    -- Null until an event has been counted.
    first_event_at timestamptz,
    last_event_at  timestamptz,
    inserted_at    timestamptz not null,
    updated_at     timestamptz not null,
    constraint sites_pkey primary key (site_id),
    constraint sites_site_id_length check (octet_length(site_id) between 1 and 255)
);

-- An id may mean one site only; looked up whenever a site or an alias is added.
create index sites_by_alias on sites using gin (aliases);

create table goals (
    id               uuid not null,
    site_id          text collate "C" not null,
    name             text not null,
    kind             text not null,
    event            text,
    path             text,
    scroll_threshold smallint,
    -- Name to value; an event must have all of them.
    props            jsonb not null default '{}',
    -- Events whose record is older do not complete the goal.
    active_since     timestamptz not null,
    inserted_at      timestamptz not null,
    updated_at       timestamptz not null,
    constraint goals_pkey primary key (id),
    constraint goals_site_fkey foreign key (site_id) references sites (site_id) on delete cascade,
    constraint goals_name_unique unique (site_id, name),
    constraint goals_rule check (case kind
        when 'event'  then event is not null and path is null and scroll_threshold is null
        when 'page'   then event is null and path is not null and scroll_threshold is null
        when 'scroll' then event is null and path is not null and scroll_threshold between 0 and 100
        else false
    end)
);
