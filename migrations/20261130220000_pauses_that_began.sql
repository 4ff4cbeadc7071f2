-- When a webhook's latest pause began: its time does not count towards a delivery's age, wherever the delivery waits.

-- Null: no pause began since this was.
alter table webhooks add column paused_at timestamptz;
