mod record_support;
mod record_schema;
mod record_registry;
