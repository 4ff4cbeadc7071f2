//! The table of calls. The router, the metrics, the matrix of permissions and the OpenAPI document
//! are made of it.

use axum::routing::{MethodRouter, delete, get, patch, post, put};

use super::call::{Access, Call, Method};
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

type Handler = fn() -> MethodRouter<ApiState>;

const fn call(method: Method, path: &'static str, access: Access, success: u16, handler: Handler) -> Call {
    Call {
        method,
        path,
        access,
        success,
        handler,
    }
}

/// Every call that needs a token.
pub const CALLS: [Call; 30] = {
    use Access::{Admin, Editor, Scoped, Viewer};
    use Method::{Delete, Get, Patch, Post, Put};
    [
        call(Get, SITES, Scoped, 200, || get(sites::list)),
        call(Get, SITE, Viewer, 200, || get(sites::get)),
        call(Put, SITE, Editor, 200, || put(sites::put)),
        call(Delete, SITE, Editor, 204, || delete(sites::delete)),
        call(Get, WEBHOOKS, Viewer, 200, || get(webhooks::list)),
        call(Post, WEBHOOKS, Editor, 201, || post(webhooks::create)),
        call(Get, WEBHOOK, Viewer, 200, || get(webhooks::get)),
        call(Patch, WEBHOOK, Editor, 200, || patch(webhooks::change)),
        call(Delete, WEBHOOK, Editor, 204, || delete(webhooks::delete)),
        call(Post, ROTATE_SECRET, Editor, 200, || post(secrets::rotate)),
        call(Get, SECRET, Editor, 200, || get(secrets::reveal)),
        call(Post, WEBHOOK_TEST, Editor, 200, || post(webhook_test::send)),
        call(Post, RECOVER, Editor, 202, || post(recoveries::begin)),
        call(Get, RECOVERY, Viewer, 200, || get(recoveries::get)),
        call(Delete, RECOVERY, Editor, 204, || delete(recoveries::cancel)),
        call(Get, DELIVERIES, Viewer, 200, || get(deliveries::list)),
        call(Get, DELIVERY, Viewer, 200, || get(deliveries::get)),
        call(Post, RETRY, Editor, 202, || post(resend::retry)),
        call(Get, GOALS, Viewer, 200, || get(goals::list)),
        call(Post, GOALS, Editor, 201, || post(goals::create)),
        call(Get, GOAL, Viewer, 200, || get(goals::get)),
        call(Put, GOAL, Editor, 200, || put(goals::replace)),
        call(Delete, GOAL, Editor, 204, || delete(goals::delete)),
        call(Get, STATUS, Viewer, 200, || get(activity::status)),
        call(Get, ALERTS, Viewer, 200, || get(alerts::list)),
        call(Get, ACTIVITY, Viewer, 200, || get(activity::read)),
        call(Post, PORTAL_LINKS, Editor, 201, || post(portal_links::create)),
        call(Get, TOKENS, Admin, 200, || get(tokens::list)),
        call(Post, TOKENS, Admin, 201, || post(tokens::create)),
        call(Delete, TOKEN, Admin, 204, || delete(tokens::revoke)),
    ]
};

#[cfg(test)]
mod tests;
