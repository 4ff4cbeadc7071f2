-- The present of each site as its detector sees it, for pages and the API. Unlogged: after a crash of the server it is
-- empty until the detectors have written again, some seconds later.

create unlogged table site_now (
    site_id          text collate "C" not null,
    -- Distinct visitors of the last 300 seconds.
    current_visitors bigint not null,
    -- The site's own clock.
    as_of            timestamptz not null,
    -- {"status", "current", "expected", "change_percent", "score", "samples"}, or null.
    baseline         jsonb,
    -- [{"webhook_id", "event", "state", "since", "threshold"}]
    triggers         jsonb not null,
    -- When the detector sent it, by its own clock.
    updated_at       timestamptz not null,
    constraint site_now_pkey primary key (site_id)
) with (fillfactor = 50);
