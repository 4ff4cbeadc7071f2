-- When a pause was lifted: what it held back has waited for its sake until then, whatever is edited afterwards.

-- Null for pauses that were lifted before this: the last edit counts, as it did.
alter table webhooks add column pause_lifted_at timestamptz;
