-- Time of the last record of any site from the site's source, while that delivers nothing though it should.
alter table site_now add column source_silent_since timestamptz;
