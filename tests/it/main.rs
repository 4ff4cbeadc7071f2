mod record_schema;
