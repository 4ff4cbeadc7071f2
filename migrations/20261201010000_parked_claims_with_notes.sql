-- A dead owner's claim of a parked row no longer means that its delivery may have been sent.

-- Equal to claimed_until: the owner of that claim writes a note (send_notes) before it sends, so without a note
-- nothing was sent. Of an earlier claim otherwise.
alter table parked add column noted_claim timestamptz;
