//! `[operator]`

use serde::Deserialize;

use super::problems::{HIDDEN, Problems};
use super::webhooks::WebhooksConfig;
use crate::domain::address::AddressRules;
use crate::domain::secret::{Hidden, Secret};
use crate::domain::target::{TargetRules, TargetUrl};

/// `[operator]`: the webhook of whoever runs the service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OperatorConfig {
    /// Endpoint that hears of failing webhooks and of sources that are silent or rejected.
    webhook_url: Option<HiddenText>,
    /// Secret with which its requests are signed.
    webhook_secret: Option<HiddenText>,
}

/// A text that must not be shown.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "String")]
struct HiddenText(Hidden);

impl From<String> for HiddenText {
    fn from(text: String) -> Self {
        Self(Hidden::new(text))
    }
}

/// The operator's webhook.
#[derive(Debug, Clone)]
pub(crate) struct OperatorWebhook {
    pub(crate) url: TargetUrl,
    pub(crate) secret: Secret,
}

impl OperatorConfig {
    pub(super) fn validate(&self, webhooks: &WebhooksConfig, problems: &mut Problems) {
        match (&self.webhook_url, &self.webhook_secret) {
            (None, None) => {}
            (Some(_), None) => problems.add(
                "operator.webhook_secret",
                "(not set)",
                "required with operator.webhook_url: requests are signed with it",
            ),
            (None, Some(_)) => problems.add(
                "operator.webhook_url",
                "(not set)",
                "required with operator.webhook_secret",
            ),
            (Some(_), Some(_)) => {}
        }
        if let Some(url) = &self.webhook_url
            && let Err(invalid) = TargetUrl::parse(url.0.reveal(), &rules(webhooks))
        {
            problems.add("operator.webhook_url", HIDDEN, &invalid.to_string());
        }
        if let Some(secret) = &self.webhook_secret
            && let Err(invalid) = Secret::parse(secret.0.reveal())
        {
            problems.add("operator.webhook_secret", HIDDEN, &invalid.to_string());
        }
    }

    /// The operator's webhook, if one is configured.
    pub(crate) fn webhook(&self, webhooks: &WebhooksConfig) -> Option<OperatorWebhook> {
        let url = self.webhook_url.as_ref()?.0.reveal();
        Some(OperatorWebhook {
            url: TargetUrl::parse(url, &rules(webhooks)).ok()?,
            secret: Secret::parse(self.webhook_secret.as_ref()?.0.reveal()).ok()?,
        })
    }
}

fn rules(webhooks: &WebhooksConfig) -> TargetRules {
    TargetRules {
        allow_http: webhooks.allow_http,
        addresses: AddressRules {
            allow: webhooks.allow_networks.clone(),
            deny: webhooks.deny_networks.clone(),
        },
    }
}
