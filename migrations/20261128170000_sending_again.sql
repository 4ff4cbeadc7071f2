-- Tests of webhooks, and deliveries that are sent again.

-- When a webhook was tested lately: ten a minute are allowed, whichever process sends them.
create table webhook_tests (
    webhook_id uuid not null,
    sent_at    timestamptz[] not null,
    constraint webhook_tests_pkey primary key (webhook_id),
    constraint webhook_tests_webhook_fkey foreign key (webhook_id) references webhooks (id) on delete cascade
);

-- The recovery that asked for the delivery. Its rows are those of its deliveries that have not ended.
alter table parked add column job_id uuid;
create index parked_by_job on parked (job_id) where job_id is not null;

-- Few: the deliveries of a notification that were asked for again.
create index deliveries_resends on deliveries (notification_id) where resend_of is not null;

-- Counted by what is left in `parked`, and not by itself.
alter table jobs drop column sent;
-- Deliveries that a recovery has made, and those of them that were cancelled with it.
alter table jobs add column resends integer not null default 0;
alter table jobs add column withdrawn integer not null default 0;
alter table jobs drop constraint jobs_kind;
alter table jobs add constraint jobs_kind check (kind in ('erase', 'recover', 'withdraw', 'cancel'));
create index jobs_ended on jobs (ended_at) where ended_at is not null;
