-- The same index with its ids upwards, so that a page can begin at a pair of a status and an id, and end with the status:
-- a comparison of rows needs columns that are in one order.
drop index deliveries_by_kind;
create index deliveries_by_kind on deliveries (webhook_id, event_type, status, id);
