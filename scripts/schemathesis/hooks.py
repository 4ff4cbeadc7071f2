"""Points good requests at things that exist, and fills in values whose rule no schema can say."""

import datetime
import json
import os
import random
import urllib.error
import urllib.request
import uuid

import schemathesis
from hypothesis import strategies as st
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation import GenerationMode

URL = os.environ["FUZZ_URL"]
ADMIN = os.environ["FUZZ_ADMIN"]
TOKEN = os.environ["FUZZ_TOKEN"]
SITE = "fuzz.example"

schemathesis.openapi.format("uri", st.sampled_from(["https://hooks.example.com/a", "https://hooks.example.net/b?c=d"]))
schemathesis.openapi.format("time-zone", st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns"]))
schemathesis.openapi.format("cursor", st.just(""))
schemathesis.openapi.format("date-time", st.just("2026-02-25T12:00:00Z"))


def call(method, path, body=None):
    """Calls the API as the admin; None for a refusal."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data=data, method=method)
    request.add_header("Authorization", f"Bearer {ADMIN}")
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)
    except urllib.error.HTTPError:
        return None


def first(path):
    """The id of the first entry of a list, or of one that is made."""
    listed = call("GET", path)
    entries = listed["data"] if listed else []
    return entries[0]["id"] if entries else None


def webhook_id():
    path = f"/api/sites/{SITE}/webhooks"
    body = {"url": "https://hooks.example.com/x", "events": ["goal_completion"]}
    return first(path) or (call("POST", path, body) or {}).get("id")


def goal_id():
    path = f"/api/sites/{SITE}/goals"
    call("PUT", f"/api/sites/{SITE}", {})
    return first(path) or (call("POST", path, {"name": "Fuzz", "kind": "event", "event": "e"}) or {}).get("id")


def token_id():
    made = call("POST", "/api/tokens", {"sites": [SITE], "role": "viewer", "subject": "made to be revoked"})
    return (made or {}).get("id")


def delivery_id():
    return first(f"/api/sites/history.example/webhooks/{os.environ['FUZZ_WEBHOOK']}/deliveries")


FOUND = {"delivery_id": delivery_id, "webhook_id": webhook_id, "goal_id": goal_id, "token_id": token_id}


def is_good(case, location):
    """True if the generated part of a request is as its schema says, and may be replaced."""
    if case.meta is None:
        return False
    part = case.meta.components.get(location)
    return part is None or part.mode == GenerationMode.POSITIVE


# The settings that an event type needs, for a webhook that subscribes to it.
TRIGGERS = {
    "visitor_spike": {"threshold": 500},
    "visitor_drop": {"threshold": 10},
    "error_condition": {"rejected_events": 10},
}


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Leaves out the conditions between events and triggers, for which Schemathesis can make no examples."""
    del raw_schema["components"]["schemas"]["NewWebhook"]["allOf"]


def make_triggers_fit(body):
    """Gives each event of a new webhook the trigger it needs, and none to others."""
    events = body.get("events")
    if not isinstance(events, list):
        return
    triggers = body.get("triggers") or {}
    triggers = {event: triggers[event] for event in triggers if event in events}
    for event in events:
        if not triggers.get(event) and event in TRIGGERS:
            triggers[event] = TRIGGERS[event]
    body["triggers"] = triggers


def later(days):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)).isoformat()


def make_good(body):
    """Replaces what only the present can say."""
    for name in ("paused_until", "expires_at"):
        if body.get(name):
            body[name] = later(1)
    # A recovery is of the past; answers that are used again have times that are to come.
    for name in ("since", "until"):
        if body.get(name):
            body[name] = "2026-02-25T12:00:00Z"
    # A portal link that is used again is no public address.
    if str(body.get("url", "")).startswith(URL):
        body["url"] = "https://hooks.example.com/a"
    if body.get("retry_schedule"):
        body["retry_schedule"] = "default"
    if body.get("external_id"):
        body["external_id"] = None
    # A token may add aliases within its own scope only.
    if body.get("aliases") and TOKEN != ADMIN:
        body["aliases"] = []
    headers = body.get("headers")
    if headers:
        body["headers"] = {name: value for name, value in list(headers.items())[:1]}


@schemathesis.hook
def before_call(context, case, kwargs):
    if is_good(case, ParameterLocation.PATH) and case.path_parameters:
        for name in case.path_parameters:
            if name == "site_id":
                case.path_parameters[name] = SITE
            elif name in FOUND and (found := FOUND[name]()):
                case.path_parameters[name] = found
        if "/deliveries" in case.path:
            case.path_parameters["site_id"] = "history.example"
            case.path_parameters["webhook_id"] = os.environ["FUZZ_WEBHOOK"]
    if is_good(case, ParameterLocation.QUERY) and case.query:
        if case.path in ("/api/sites/{site_id}/activity",):
            case.query = {name: later(-2 if name == "from" else -1) for name in case.query}
    # Failed logins are limited by address: each request comes from another one.
    network = ":".join(f"{random.getrandbits(16):x}" for _ in range(2))
    case.headers = {**(case.headers or {}), "X-Forwarded-For": f"2001:db8:{network}::1"}
    if is_good(case, ParameterLocation.HEADER) and "Idempotency-Key" in (case.headers or {}):
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
    if is_good(case, ParameterLocation.BODY) and isinstance(case.body, dict):
        make_good(case.body)
        if case.method == "POST" and case.path.endswith("/webhooks"):
            make_triggers_fit(case.body)
