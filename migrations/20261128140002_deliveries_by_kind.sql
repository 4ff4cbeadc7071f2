-- History by event type and status: each pair is a run of this index in the order of the ids, so that a page of what is
-- rare is found without reading what is common.
create index deliveries_by_kind on deliveries (webhook_id, event_type, status, id desc);
