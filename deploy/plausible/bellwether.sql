-- Copies Plausible's events to Kafka, and never fails Plausible's own inserts. README.md says what must be set before,
-- so that it does not hold them up either.
-- Replace: postgres, plausible_db, clickhouse_reader, choose-one, kafka:9092.

-- Plausible's numbers of sites → domains.
CREATE DICTIONARY IF NOT EXISTS bellwether_sites
(
    id UInt64,
    domain String
)
PRIMARY KEY id
SOURCE(POSTGRESQL(
    host 'postgres'
    port 5432
    db 'plausible_db'
    user 'clickhouse_reader'
    password 'choose-one'
    query 'SELECT id, domain FROM sites'
))
LAYOUT(HASHED())
LIFETIME(MIN 240 MAX 300);

-- One record a row. Nothing reads from this table: only the view writes into it.
CREATE TABLE IF NOT EXISTS bellwether_out
(
    site_id String,
    name String,
    hostname String,
    pathname String,
    user_id UInt64,
    session_id UInt64,
    timestamp DateTime,
    meta_key Array(String),
    meta_value Array(String),
    scroll_depth UInt8,
    referrer_source String,
    country_code String,
    revenue_amount Nullable(Decimal(18, 3)),
    revenue_currency String
)
ENGINE = Kafka
SETTINGS
    kafka_broker_list = 'kafka:9092',
    kafka_topic_list = 'plausible.events',
    kafka_group_name = 'plausible-unused',
    kafka_format = 'JSONEachRow',
    kafka_max_rows_per_message = 1,
    -- 64-bit numbers as texts, whatever the version's default is.
    output_format_json_quote_64bit_integers = 1,
    -- In UTC, whatever the server's time zone is.
    date_time_output_format = 'iso',
    -- A path may have any bytes, as in /%FF, and JSON may not.
    output_format_json_validate_utf8 = 1;

-- A site that is too new for the dictionary keeps its number.
CREATE MATERIALIZED VIEW IF NOT EXISTS bellwether_events TO bellwether_out AS
SELECT
    dictGetOrDefault('bellwether_sites', 'domain', toUInt64(site_id), toString(site_id)) AS site_id,
    name,
    hostname,
    pathname,
    user_id,
    session_id,
    timestamp,
    `meta.key` AS meta_key,
    `meta.value` AS meta_value,
    scroll_depth,
    referrer_source,
    country_code,
    revenue_reporting_amount AS revenue_amount,
    revenue_reporting_currency AS revenue_currency
FROM events_v2
-- Whatever happens to the copy, the event itself is stored. Newer versions obey this only on the insert itself: README.md.
SETTINGS materialized_views_ignore_errors = 1;
