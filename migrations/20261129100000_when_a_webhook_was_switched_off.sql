-- When its owner switched a webhook off; null while it is on.
alter table webhooks add column switched_off_at timestamptz;
