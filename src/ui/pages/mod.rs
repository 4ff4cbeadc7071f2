//! The pages, a file each.

pub(super) mod sign_in;
pub(super) mod sites;
pub(super) mod now;
pub(super) mod webhooks;
pub(super) mod webhook;
pub(super) mod webhook_edit;
pub(super) mod secret;
pub(super) mod deliveries;
pub(super) mod delivery;
pub(super) mod again;
pub(super) mod recover;
pub(super) mod goals;
pub(super) mod alerts;
pub(super) mod settings;
