-- When a webhook's URL was last changed: what an earlier one answered says nothing of the present one.

-- Null: not since this was. A URL that is encrypted anew stays the same.
alter table webhooks add column url_changed_at timestamptz;
-- The webhook's own when the health was found. If it differs, the health is that of an earlier URL.
alter table webhook_health add column url_changed_at timestamptz;
