-- Reads the table without keeping anybody from writing to it.
alter table delivery_attempts validate constraint delivery_attempts_result;
