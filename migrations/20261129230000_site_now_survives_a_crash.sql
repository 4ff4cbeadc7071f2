-- The present of each site survives a crash of the server, a restored backup and a failover. Detectors write only what
-- has changed, so an emptied table would lack a site until its visitors come or go; a silent one for ever.
alter table site_now set logged;
