//! The table of calls. The router, the metrics, the matrix of permissions and the OpenAPI document
//! are made of it.

use axum::routing::{MethodRouter, delete, get, patch, post, put};

use super::call::{Access, Call, Method};
use super::parameter::Parameter;
use super::problem_type::ProblemType;
use super::state::ApiState;
use super::{
    activity, alerts, deliveries, goals, portal_links, recoveries, resend, secrets, sites, tokens,
    webhook_test, webhooks,
};

const SITES: &str = "/api/sites";
const SITE: &str = "/api/sites/{site_id}";
const WEBHOOKS: &str = "/api/sites/{site_id}/webhooks";
const WEBHOOK: &str = "/api/sites/{site_id}/webhooks/{webhook_id}";
const ROTATE_SECRET: &str = "/api/sites/{site_id}/webhooks/{webhook_id}/rotate-secret";
pub(super) const WEBHOOK_TEST: &str = "/api/sites/{site_id}/webhooks/{webhook_id}/test";
const RECOVER: &str = "/api/sites/{site_id}/webhooks/{webhook_id}/recover";
const RECOVERY: &str = "/api/sites/{site_id}/webhooks/{webhook_id}/recoveries/{job_id}";
const SECRET: &str = "/api/sites/{site_id}/webhooks/{webhook_id}/secret";
const DELIVERIES: &str = "/api/sites/{site_id}/webhooks/{webhook_id}/deliveries";
const DELIVERY: &str = "/api/sites/{site_id}/webhooks/{webhook_id}/deliveries/{delivery_id}";
const RETRY: &str = "/api/sites/{site_id}/webhooks/{webhook_id}/deliveries/{delivery_id}/retry";
const GOALS: &str = "/api/sites/{site_id}/goals";
const GOAL: &str = "/api/sites/{site_id}/goals/{goal_id}";
const STATUS: &str = "/api/sites/{site_id}/status";
const ALERTS: &str = "/api/sites/{site_id}/alerts";
const ACTIVITY: &str = "/api/sites/{site_id}/activity";
const PORTAL_LINKS: &str = "/api/sites/{site_id}/portal-links";
const TOKENS: &str = "/api/tokens";
const TOKEN: &str = "/api/tokens/{token_id}";

const fn call(
    method: Method,
    path: &'static str,
    access: Access,
    success: u16,
    handler: fn() -> MethodRouter<ApiState>,
) -> Call {
    Call::new(method, path, access, success, handler)
}

/// Every call that needs a token.
pub const CALLS: [Call; 30] = {
    use Access::{Admin, Editor, Scoped, Viewer};
    use Method::{Delete, Get, Patch, Post, Put};
    use Parameter::{After, AlertEvents, Events, From, Include, Limit, Part, Since, Statuses, To};
    use ProblemType::{
        DuplicateGoal, ExternalIdTaken, GoalLimit, GoalWatched, NotSendable, RecoveryLimit, SiteIsAlias,
        TooManyTests, WebhookLimit,
    };
    [
        call(Get, SITES, Scoped, 200, || get(sites::list))
            .does("List the sites in the token's scope, ordered by id")
            .asks(&[Part, Limit, After])
            .answers("Sites"),
        call(Get, SITE, Viewer, 200, || get(sites::get))
            .does("Read a site")
            .answers("Site"),
        call(Put, SITE, Editor, 200, || put(sites::put))
            .does("Register a site, or replace its settings: a missing field gets its default")
            .takes("SiteSettings")
            .answers("Site")
            .may_create()
            .refuses(&[SiteIsAlias]),
        call(Delete, SITE, Editor, 204, || delete(sites::delete))
            .does("Delete a site: it is gone at once, and its history is erased soon after"),
        call(Get, WEBHOOKS, Viewer, 200, || get(webhooks::list))
            .does("List the webhooks of a site; secrets are masked")
            .asks(&[Include])
            .answers("Webhooks"),
        call(Post, WEBHOOKS, Editor, 201, || post(webhooks::create))
            .does("Create a webhook; this answer alone shows its secret")
            .takes("NewWebhook")
            .answers("WebhookWithSecret")
            .refuses(&[WebhookLimit, ExternalIdTaken, SiteIsAlias]),
        call(Get, WEBHOOK, Viewer, 200, || get(webhooks::get))
            .does("Read a webhook; secrets are masked")
            .answers("Webhook"),
        call(Patch, WEBHOOK, Editor, 200, || patch(webhooks::change))
            .does("Change the fields in the body, a JSON merge patch; `null` resets a field")
            .takes("WebhookPatch")
            .answers("WebhookWithWarnings")
            .refuses(&[ExternalIdTaken]),
        call(Delete, WEBHOOK, Editor, 204, || delete(webhooks::delete))
            .does("Delete a webhook: its secrets are erased, and its history stays"),
        call(Post, ROTATE_SECRET, Editor, 200, || post(secrets::rotate))
            .does("Give a webhook a new secret, or end the overlap of two")
            .may_take("SecretRotation")
            .answers("RotatedWebhook"),
        call(Get, SECRET, Editor, 200, || get(secrets::reveal))
            .does("Show the secret of a webhook, which the audit log records")
            .answers("ShownSecret"),
        call(Post, WEBHOOK_TEST, Editor, 200, || post(webhook_test::send))
            .does("Send a sample to the endpoint now, and answer with the outcome")
            .may_take("TestRequest")
            .answers("TestOutcome")
            .refuses(&[TooManyTests]),
        call(Post, RECOVER, Editor, 202, || post(recoveries::begin))
            .does("Send everything again that failed or was cancelled in a span of time, by a job")
            .takes("RecoveryRequest")
            .answers("Recovery")
            .refuses(&[NotSendable, RecoveryLimit]),
        call(Get, RECOVERY, Viewer, 200, || get(recoveries::get))
            .does("Show how far a recovery has come")
            .answers("Recovery"),
        call(Delete, RECOVERY, Editor, 204, || delete(recoveries::cancel))
            .does("Cancel a recovery: what it has not sent is cancelled"),
        call(Get, DELIVERIES, Viewer, 200, || get(deliveries::list))
            .does("List the deliveries of a webhook, also of a deleted one, newest first")
            .asks(&[Statuses, Events, Since, Limit, After])
            .answers("Deliveries"),
        call(Get, DELIVERY, Viewer, 200, || get(deliveries::get))
            .does("Read a delivery with every request to the endpoint")
            .answers("DeliveryWithAttempts"),
        call(Post, RETRY, Editor, 202, || post(resend::retry))
            .does("Send a delivery again now, as a new delivery of the same notification")
            .may_take("RetryRequest")
            .answers("Delivery")
            .refuses(&[NotSendable]),
        call(Get, GOALS, Viewer, 200, || get(goals::list))
            .does("List the goals of a site")
            .answers("Goals"),
        call(Post, GOALS, Editor, 201, || post(goals::create))
            .does("Create a goal of a registered site")
            .takes("NewGoal")
            .answers("Goal")
            .refuses(&[GoalLimit, DuplicateGoal]),
        call(Get, GOAL, Viewer, 200, || get(goals::get))
            .does("Read a goal")
            .answers("Goal"),
        call(Put, GOAL, Editor, 200, || put(goals::replace))
            .does("Replace a goal; webhooks that name it follow its new name")
            .takes("GoalSettings")
            .answers("Goal")
            .refuses(&[DuplicateGoal]),
        call(Delete, GOAL, Editor, 204, || delete(goals::delete))
            .does("Delete a goal, unless a webhook is told when it is silent")
            .refuses(&[GoalWatched]),
        call(Get, STATUS, Viewer, 200, || get(activity::status))
            .does("Read the present: current visitors, what is usual, the state of each trigger")
            .answers("SiteStatus"),
        call(Get, ALERTS, Viewer, 200, || get(alerts::list))
            .does("List the alerts of a site, newest first, suppressed ones too")
            .asks(&[AlertEvents, Since, Limit, After])
            .answers("Alerts"),
        call(Get, ACTIVITY, Viewer, 200, || get(activity::read))
            .does("Read the visitors over time, by the minute or by the hour")
            .asks(&[From, To])
            .answers("Activity"),
        call(Post, PORTAL_LINKS, Editor, 201, || post(portal_links::create))
            .does("Make a link, to be used once, that opens the pages of a site")
            .may_take("PortalLinkRequest")
            .answers("PortalLink"),
        call(Get, TOKENS, Admin, 200, || get(tokens::list))
            .does("List the tokens that are not revoked, newest first")
            .asks(Parameter::PAGE)
            .answers("Tokens"),
        call(Post, TOKENS, Admin, 201, || post(tokens::create))
            .does("Make a token; this answer alone shows it")
            .takes("NewToken")
            .answers("TokenWithSecret"),
        call(Delete, TOKEN, Admin, 204, || delete(tokens::revoke))
            .does("Revoke a token: it is refused from the next request on"),
    ]
};

#[cfg(test)]
mod tests;
