-- The visitors of each site, an hour a row: what is usual is learned from it, and the API shows it.
--
-- No foreign key: rows are written in batches, and those of a deleted site are erased by a job. The writer leaves sites
-- out that are not registered.

create table site_activity (
    site_id    text collate "C" not null,
    -- The beginning of the hour, in UTC.
    hour       timestamptz not null,
    -- Visitors at the end of each minute, as 60 variable-length numbers of 7 bits a byte, lowest first.
    minutes    bytea not null,
    -- Bit i is set if minute i was counted; the number of one that was not means nothing.
    covered    bigint not null,
    -- The median over the counted minutes.
    median     real,
    -- Events of any type.
    events     bigint not null,
    -- Name of a goal to the number of events that completed it.
    goals      jsonb not null,
    -- The greatest distance from what was usual, in deviations; null while nothing was known to be usual.
    peak_z     real,
    updated_at timestamptz not null,
    constraint site_activity_pkey primary key (site_id, hour),
    constraint site_activity_covered check (covered >= 0 and covered < 1::bigint << 60),
    constraint site_activity_hour check (date_trunc('hour', hour, 'UTC') = hour)
) with (fillfactor = 80);

-- For the purge. An index of one entry a page range, as rows come in about the order of their hours.
create index site_activity_by_hour on site_activity using brin (hour);
