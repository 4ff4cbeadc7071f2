-- A plan made while `parked` has no pages reads the whole table, and stays while it fills. Vacuum leaves its pages.
alter table parked set (vacuum_truncate = false);
