mod record_support;
mod record_schema;
mod record_registry;
mod api_support;
mod api_webhooks;
mod api_access;
mod api_history;
mod api_sites_goals;
