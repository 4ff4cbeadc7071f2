-- An answer that is not HTTP, or whose head is beyond every measure, is a result of its own. The new list contains the
-- old one, so no row needs to be looked at while the table is locked.
alter table delivery_attempts
    drop constraint delivery_attempts_result,
    add constraint delivery_attempts_result check (result in (
        '2xx', '3xx', '4xx', '410', '429', '5xx', 'dns', 'connect', 'tls', 'timeout', 'reset', 'body', 'protocol',
        'address_refused', 'internal'
    )) not valid;
