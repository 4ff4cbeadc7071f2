-- A row of a delivery that has ended waits for nothing that its endpoint has to give: it is there for its dead letter, or
-- to be removed.
alter table parked add column has_ended boolean not null default false;

update parked set has_ended = true
where exists (
    select from deliveries d where d.id = parked.delivery_id and d.status in ('delivered', 'failed', 'cancelled')
);

create index parked_ended on parked (partition) where has_ended;
