-- Whether its owner set a webhook's rate, which then stays when the format changes.

-- False for what was stored before this: there a rate is taken for set if it is not its format's default, as it was.
alter table webhooks add column rate_limit_is_set boolean not null default false;
