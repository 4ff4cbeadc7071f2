-- What is left of an erased site is looked for whenever one is registered: by the paths of the answers that are kept,
-- which begin alike, and by jobs.
create index idempotency_keys_by_path on idempotency_keys (path collate "C");
create index jobs_by_site on jobs (site_id);

-- A site takes its webhooks along, the deleted ones too.
create index webhooks_by_site on webhooks (site_id);
