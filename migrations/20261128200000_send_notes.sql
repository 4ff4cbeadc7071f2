-- Deliveries that an intake thread is about to send and has not yet recorded: after a crash the next owner of its
-- partitions knows by these what may have been sent. Few rows, which are removed as outcomes are recorded.
create table send_notes (
    id           bigint generated always as identity,
    -- The nonce of the thread.
    owner        text not null,
    -- The highest number of their requests, in the order of the thread's process.
    highest      bigint not null,
    delivery_ids uuid[] not null,
    noted_at     timestamptz not null default now(),
    constraint send_notes_pkey primary key (id)
) with (fillfactor = 70);

create index send_notes_by_owner on send_notes (owner, highest);
create index send_notes_by_age on send_notes (noted_at);
