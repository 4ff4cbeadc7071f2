use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::super::health::Ending;
use super::*;
use crate::domain::time::from_ms;
use crate::domain::webhook::SendLimits;

/// Endpoints whose URL is edited.
mod urls;

fn id(number: u16) -> WebhookId {
    WebhookId::from_uuid(uuid::Uuid::from_u128(u128::from(number) + 1))
}

fn settings(site: u16, host: u16) -> EndpointSettings {
    EndpointSettings {
        site_id: SiteId::try_from(format!("site-{site}")).expect("a site id"),
        host: format!("host-{host}.example").into(),
        limits: SendLimits {
            rate_per_second: None,
            ..SendLimits::default()
        },
        active_since_ms: 0,
        url_changed_at: None,
    }
}

fn start() -> Now {
    Now {
        instant: crate::clock::monotonic(),
        wall_ms: 1_700_000_000_000,
    }
}

fn end(ending: Ending) -> AttemptEnd {
    AttemptEnd {
        ending,
        is_gone: false,
        is_final_failure: false,
        is_probe: false,
        url_changed_at: None,
    }
}

/// A scheduler on a stepped clock, and what became of each job.
struct Stepped {
    scheduler: Scheduler<u32>,
    now: Now,
    in_flight: Vec<(WebhookId, u32, bool)>,
    parked: Vec<(u32, ParkReason, i64)>,
    refused: Vec<u32>,
    waits: BTreeMap<u32, (Duration, Option<Wait>)>,
    jobs: u32,
}

impl Stepped {
    fn new(limits: LaneLimits) -> Self {
        Self {
            scheduler: Scheduler::new(limits),
            now: start(),
            in_flight: Vec::new(),
            parked: Vec::new(),
            refused: Vec::new(),
            waits: BTreeMap::new(),
            jobs: 0,
        }
    }

    fn set_up(&mut self, number: u16, settings: EndpointSettings) {
        let health = EndpointHealth::new(self.now.wall_ms);
        self.scheduler.set_up(id(number), settings, health, self.now);
    }

    fn arrive(&mut self, number: u16, kind: QueueKind) -> u32 {
        let job = self.jobs;
        self.jobs += 1;
        self.scheduler.arrive(id(number), kind, job, self.now);
        self.run();
        job
    }

    fn run(&mut self) {
        for action in self.scheduler.run(self.now, usize::MAX) {
            match action {
                LaneAction::Start {
                    endpoint,
                    job,
                    is_probe,
                    waited,
                    cause,
                } => {
                    self.waits.insert(job, (waited, cause));
                    self.in_flight.push((endpoint, job, is_probe));
                }
                LaneAction::Park {
                    job, reason, due_ms, ..
                } => self.parked.push((job, reason, due_ms)),
                LaneAction::Refuse { job, .. } => self.refused.push(job),
            }
        }
    }

    fn pass(&mut self, duration: Duration) {
        self.now = Now {
            instant: self.now.instant + duration,
            wall_ms: self.now.wall_ms + duration.as_millis() as i64,
        };
        self.run();
    }

    fn end(&mut self, job: u32, mut end: AttemptEnd) -> Option<HealthChange> {
        let place = self.in_flight.iter().position(|(_, other, _)| *other == job);
        let (endpoint, _, is_probe) = self.in_flight.remove(place.expect("a job in flight"));
        end.is_probe = is_probe;
        let change = self.scheduler.ended(endpoint, end, self.now);
        self.run();
        change
    }

    fn started(&self, job: u32) -> bool {
        self.waits.contains_key(&job)
    }
}

#[test]
fn healthy_sites_never_wait_for_300_hung_endpoints() {
    let mut stepped = Stepped::new(LaneLimits::new(512));
    for number in 0..300 {
        stepped.set_up(number, settings(0, 0));
        for _ in 0..20 {
            stepped.arrive(number, QueueKind::First);
        }
    }
    assert!(stepped.in_flight.len() < 512, "one site cannot fill the process");
    for number in 300..350 {
        stepped.set_up(number, settings(number, number));
    }
    for second in 0..70 {
        // The hung ones time out after 30 s, and more comes for them.
        if second == 30 || second == 60 {
            for (endpoint, job, _) in stepped.in_flight.clone() {
                stepped.end(job, end(Ending::Unanswered));
                assert_ne!(
                    stepped.scheduler.health(endpoint).expect("known").state,
                    HealthState::Ok
                );
            }
        }
        for number in 0..300 {
            stepped.arrive(number, QueueKind::First);
        }
        for number in 300..350 {
            let job = stepped.arrive(number, QueueKind::First);
            let (waited, cause) = stepped.waits[&job];
            assert_eq!((waited, cause), (Duration::ZERO, None), "at second {second}");
            stepped.end(job, end(Ending::Success));
        }
        stepped.pass(Duration::from_secs(1));
    }
}

#[test]
fn a_site_and_a_host_have_their_shares() {
    let mut stepped = Stepped::new(LaneLimits::new(512));
    for number in 0..10 {
        stepped.set_up(number, settings(0, number));
        for _ in 0..8 {
            stepped.arrive(number, QueueKind::First);
        }
    }
    assert_eq!(
        stepped.in_flight.len(),
        32 + 6,
        "32, and the first of those that came later"
    );
    let mut stepped = Stepped::new(LaneLimits::new(512));
    for number in 0..10 {
        stepped.set_up(number, settings(number, 0));
        for _ in 0..8 {
            stepped.arrive(number, QueueKind::First);
        }
    }
    assert_eq!(stepped.in_flight.len(), 64 + 2);
    let (_, first, _) = stepped.in_flight[0];
    let cause = |stepped: &Stepped| {
        stepped
            .waits
            .values()
            .filter(|(_, cause)| cause.is_some())
            .count()
    };
    assert_eq!(cause(&stepped), 0);
    stepped.end(first, end(Ending::Success));
    stepped.pass(Duration::from_millis(10));
    // 65 are in flight still: the host has none to give.
    assert_eq!(stepped.in_flight.len(), 65);
}

#[test]
fn first_attempts_go_before_retries() {
    let mut limits = LaneLimits::new(1);
    limits.per_site = 1;
    let mut stepped = Stepped::new(limits);
    for number in 0..4 {
        stepped.set_up(number, settings(number, number));
    }
    let hung = stepped.arrive(0, QueueKind::First);
    let retry = stepped.arrive(1, QueueKind::Retry);
    let late = stepped.arrive(2, QueueKind::First);
    let same = stepped.arrive(1, QueueKind::First);
    stepped.pass(Duration::from_millis(5));
    stepped.end(hung, end(Ending::Success));
    assert!(stepped.started(late) || stepped.started(same));
    for _ in 0..2 {
        assert!(!stepped.started(retry), "a first attempt waits still");
        let (_, job, _) = stepped.in_flight[0];
        stepped.end(job, end(Ending::Success));
    }
    assert!(stepped.started(retry));
    assert_eq!(
        stepped.waits[&retry],
        (Duration::from_millis(5), Some(Wait::Process))
    );
}

#[test]
fn rows_that_would_only_be_parked_again_are_not_claimed() {
    let limits = LaneLimits::new(512);
    let mut stepped = Stepped::new(limits);
    stepped.set_up(0, settings(0, 0));
    let room = |claimed| stepped.scheduler.room_for_parked(id(0), claimed, stepped.now);
    assert_eq!(room(0), limits.queue_per_endpoint / 2);
    assert_eq!(room(limits.queued - 3), 3);
    assert_eq!(room(limits.queued), 1, "nothing of it waits yet");
}

#[test]
fn a_rate_is_kept_and_what_waits_5_s_for_it_is_parked() {
    let mut stepped = Stepped::new(LaneLimits::new(512));
    let mut slow = settings(0, 0);
    slow.limits.rate_per_second = Some(2);
    slow.limits.max_concurrency = 100;
    stepped.set_up(0, slow);
    let jobs: Vec<u32> = (0..20).map(|_| stepped.arrive(0, QueueKind::First)).collect();
    assert_eq!(stepped.in_flight.len(), 2, "a second's worth at once");
    for _ in 0..49 {
        stepped.pass(Duration::from_millis(100));
    }
    assert_eq!(stepped.in_flight.len(), 2 + 9, "two a second in 4.9 s");
    stepped.pass(Duration::from_millis(100));
    let parked: Vec<u32> = stepped.parked.iter().map(|(job, ..)| *job).collect();
    let started = stepped.waits.len();
    assert_eq!(parked, jobs[started..], "the rest, oldest first");
    assert!(
        stepped
            .parked
            .iter()
            .all(|(_, reason, _)| *reason == ParkReason::Rate)
    );
    assert_eq!(stepped.waits[&jobs[2]].1, Some(Wait::Rate));
}

#[test]
fn a_full_queue_parks_what_comes() {
    let mut limits = LaneLimits::new(512);
    limits.queue_per_endpoint = 4;
    let mut stepped = Stepped::new(limits);
    stepped.set_up(0, settings(0, 0));
    for _ in 0..8 + 4 {
        stepped.arrive(0, QueueKind::First);
    }
    assert!(stepped.parked.is_empty());
    let last = stepped.arrive(0, QueueKind::First);
    assert_eq!(stepped.parked, [(last, ParkReason::Queue, stepped.now.wall_ms)]);
}

#[test]
fn an_endpoint_that_does_not_answer_gets_one_request_at_a_time() {
    let mut stepped = Stepped::new(LaneLimits::new(512));
    stepped.set_up(0, settings(0, 0));
    for _ in 0..20 {
        stepped.arrive(0, QueueKind::First);
    }
    for (_, job, _) in stepped.in_flight.clone() {
        stepped.end(job, end(Ending::Unanswered));
    }
    assert_eq!(stepped.in_flight.len(), 1);
    let (_, job, _) = stepped.in_flight[0];
    stepped.end(job, end(Ending::Success));
    assert_eq!(stepped.in_flight.len(), 8, "a success makes it well again");
}

#[test]
fn hung_siblings_do_not_block_an_endpoint_that_is_well() {
    let mut stepped = Stepped::new(LaneLimits::new(512));
    for number in 0..440 {
        stepped.set_up(number, settings(0, number));
        stepped.arrive(number, QueueKind::First);
    }
    assert_eq!(stepped.in_flight.len(), 440);
    // Of the same site, and of another one.
    for (number, site) in [(440, 0), (441, 1)] {
        stepped.set_up(number, settings(site, number));
        let job = stepped.arrive(number, QueueKind::First);
        assert!(stepped.started(job), "{number}");
    }
    // Once they are known to hang, they have the site's share alone.
    for (_, job, _) in stepped.in_flight.clone() {
        stepped.end(job, end(Ending::Unanswered));
    }
    for number in 0..440 {
        stepped.arrive(number, QueueKind::First);
    }
    assert_eq!(stepped.scheduler.in_flight(), (32, 0));
    stepped.set_up(500, settings(0, 500));
    let job = stepped.arrive(500, QueueKind::First);
    assert!(stepped.started(job));
}

#[test]
fn careful_endpoints_leave_half_of_the_process_to_others() {
    let mut stepped = Stepped::new(LaneLimits::new(64));
    for number in 0..60 {
        stepped.set_up(number, settings(number, number));
        let job = stepped.arrive(number, QueueKind::First);
        stepped.end(job, end(Ending::Unanswered));
    }
    for number in 0..60 {
        stepped.arrive(number, QueueKind::First);
    }
    assert_eq!(stepped.scheduler.in_flight(), (32, 0));
    let (_, job, _) = stepped.in_flight[0];
    stepped.end(job, end(Ending::Unanswered));
    assert_eq!(
        stepped.scheduler.in_flight(),
        (32, 0),
        "the next one has its turn"
    );
}

#[test]
fn an_open_circuit_parks_everything_but_a_probe() {
    let mut stepped = Stepped::new(LaneLimits::new(512));
    stepped.set_up(0, settings(0, 0));
    let mut opened = None;
    for _ in 0..3 {
        let job = stepped.arrive(0, QueueKind::First);
        let mut failure = end(Ending::Answered);
        failure.is_final_failure = true;
        opened = stepped.end(job, failure);
    }
    assert_eq!(opened.map(|change| change.to), Some(HealthState::Open));
    let parked = stepped.arrive(0, QueueKind::First);
    let probe_at = stepped.now.wall_ms + 30_000;
    assert_eq!(stepped.parked, [(parked, ParkReason::Circuit, probe_at)]);
    assert_eq!(stepped.scheduler.room_for_parked(id(0), 0, stepped.now), 0);
    stepped.pass(Duration::from_secs(30));
    assert_eq!(stepped.scheduler.room_for_parked(id(0), 0, stepped.now), 1);
    let probe = stepped.arrive(0, QueueKind::Parked);
    assert_eq!(stepped.in_flight, [(id(0), probe, true)]);
    assert_eq!(stepped.scheduler.room_for_parked(id(0), 0, stepped.now), 0);
    let beside = stepped.arrive(0, QueueKind::First);
    assert!(!stepped.started(beside), "one probe at a time");
    assert_eq!(stepped.end(probe, end(Ending::Unanswered)), None);
    stepped.pass(Duration::from_secs(59));
    let early = stepped.arrive(0, QueueKind::First);
    assert!(
        !stepped.started(early),
        "the next probe is due a minute after the first one failed"
    );
    stepped.pass(Duration::from_secs(1));
    let passed_over = stepped.arrive(0, QueueKind::First);
    assert!(!stepped.started(passed_over), "older ones are parked");
    stepped.scheduler.note_parked(id(0), false);
    let next = stepped.arrive(0, QueueKind::First);
    assert!(stepped.started(next), "an arrival is the probe if none waits");
    let closed = stepped.end(next, end(Ending::Success)).expect("a change");
    assert_eq!((closed.from, closed.to), (HealthState::Open, HealthState::Ok));
    assert_eq!(
        stepped.scheduler.room_for_parked(id(0), 0, stepped.now),
        128,
        "what waits drains"
    );
}

#[test]
fn what_is_paused_is_parked_until_the_pause_ends() {
    let mut stepped = Stepped::new(LaneLimits::new(512));
    let until = stepped.now.wall_ms + 60_000;
    stepped.set_up(0, settings(0, 0));
    for _ in 0..9 {
        stepped.arrive(0, QueueKind::First);
    }
    let mut paused = settings(0, 0);
    paused.limits.paused_until_ms = Some(until);
    stepped.set_up(0, paused);
    stepped.run();
    assert_eq!(stepped.parked.len(), 1, "what waited is parked too");
    let job = stepped.arrive(0, QueueKind::First);
    assert_eq!(stepped.parked[1], (job, ParkReason::Paused, until));
    stepped.pass(Duration::from_secs(60));
    assert_eq!(
        stepped.scheduler.room_for_parked(id(0), 0, stepped.now),
        0,
        "all of them hang"
    );
    let (_, hung, _) = stepped.in_flight[0];
    stepped.end(hung, end(Ending::Success));
    assert!(stepped.scheduler.room_for_parked(id(0), 0, stepped.now) > 0);
}

#[test]
fn what_waits_for_a_disabled_endpoint_is_refused() {
    let mut stepped = Stepped::new(LaneLimits::new(512));
    stepped.set_up(0, settings(0, 0));
    for _ in 0..10 {
        stepped.arrive(0, QueueKind::First);
    }
    let (_, job, _) = stepped.in_flight[0];
    let mut gone = end(Ending::Answered);
    gone.is_gone = true;
    let change = stepped.end(job, gone).expect("a change");
    assert_eq!(change.to, HealthState::Disabled);
    assert_eq!(stepped.refused, [8, 9]);
    assert_eq!(stepped.in_flight.len(), 7, "what is in flight ends as it ends");
}

#[test]
fn a_drain_alternates_with_what_is_new() {
    let mut limits = LaneLimits::new(512);
    limits.per_site = 1;
    let mut stepped = Stepped::new(limits);
    let mut narrow = settings(0, 0);
    narrow.limits.max_concurrency = 1;
    stepped.set_up(0, narrow);
    let mut last = stepped.arrive(0, QueueKind::First);
    let old: Vec<u32> = (0..4).map(|_| stepped.arrive(0, QueueKind::Parked)).collect();
    let new: Vec<u32> = (0..4).map(|_| stepped.arrive(0, QueueKind::First)).collect();
    let mut order = Vec::new();
    for _ in 0..8 {
        stepped.end(last, end(Ending::Success));
        last = stepped.in_flight[0].1;
        order.push(last);
    }
    let wanted: Vec<u32> = old.iter().zip(&new).flat_map(|(old, new)| [*old, *new]).collect();
    assert_eq!(order, wanted);
}

#[derive(Debug, Clone)]
enum Step {
    Arrive(u16, u8),
    End(prop::sample::Index, u8),
    GiveUp(prop::sample::Index),
    Pass(u16),
    Change(u16, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..12_u16, 0..3_u8).prop_map(|(number, kind)| Step::Arrive(number, kind)),
        4 => (any::<prop::sample::Index>(), 0..10_u8).prop_map(|(which, how)| Step::End(which, how)),
        1 => any::<prop::sample::Index>().prop_map(Step::GiveUp),
        2 => (0..4_000_u16).prop_map(Step::Pass),
        1 => (0..12_u16, 0..6_u8).prop_map(|(number, what)| Step::Change(number, what)),
    ]
}

fn varied(number: u16, what: u8, now_ms: i64) -> EndpointSettings {
    let mut settings = settings(number % 3 + u16::from(what == 5), number % 2);
    settings.limits.max_concurrency = 1 + u32::from(number % 4);
    settings.limits.rate_per_second = (what % 2 == 1).then_some(1 + u32::from(number));
    settings.limits.paused_until_ms = (what == 4).then_some(now_ms + 2_000);
    settings.url_changed_at = (what == 3).then(|| from_ms(now_ms));
    settings
}

proptest! {
    #[test]
    fn nothing_is_lost_and_nobody_waits_without_cause(
        steps in prop::collection::vec(step(), 1..300),
        in_flight in 2..24_u32,
    ) {
        let mut limits = LaneLimits::new(in_flight);
        limits.per_site = 4;
        limits.per_host = 5;
        limits.queue_per_endpoint = 6;
        limits.queued = 40;
        let mut stepped = Stepped::new(limits);
        for number in 0..12 {
            stepped.set_up(number, varied(number, (number % 2) as u8, 0));
        }
        let mut finished = 0;
        for step in steps {
            match step {
                Step::Arrive(number, kind) => {
                    let kind = [QueueKind::First, QueueKind::Retry, QueueKind::Parked][usize::from(kind)];
                    stepped.arrive(number, kind);
                }
                Step::End(which, how) if !stepped.in_flight.is_empty() => {
                    let (_, job, _) = stepped.in_flight[which.index(stepped.in_flight.len())];
                    let ending = [Ending::Success, Ending::Answered, Ending::Unanswered, Ending::Own]
                        [usize::from(how % 4)];
                    let mut how_ended = end(ending);
                    how_ended.is_final_failure = how > 6 && ending != Ending::Success;
                    stepped.end(job, how_ended);
                    finished += 1;
                }
                Step::GiveUp(which) if !stepped.in_flight.is_empty() => {
                    let place = which.index(stepped.in_flight.len());
                    let (endpoint, _, is_probe) = stepped.in_flight.remove(place);
                    stepped.scheduler.given_up(endpoint, is_probe, stepped.now);
                    stepped.run();
                    finished += 1;
                }
                Step::Pass(ms) => stepped.pass(Duration::from_millis(u64::from(ms))),
                Step::Change(number, what) => {
                    stepped.set_up(number, varied(number, what, stepped.now.wall_ms));
                    stepped.run();
                }
                Step::End(..) | Step::GiveUp(_) => {}
            }
            check(&mut stepped, finished)?;
        }
    }
}

fn check(stepped: &mut Stepped, finished: usize) -> Result<(), TestCaseError> {
    let now = stepped.now;
    let scheduler = &mut stepped.scheduler;
    let queued: usize = scheduler.endpoints.values().map(Endpoint::queued).sum();
    prop_assert_eq!(queued, scheduler.queued);
    let known = queued + stepped.in_flight.len() + stepped.parked.len() + stepped.refused.len() + finished;
    prop_assert_eq!(known, stepped.jobs as usize, "each job is in one place");
    prop_assert_eq!(scheduler.in_flight as usize, stepped.in_flight.len());
    prop_assert!(scheduler.in_flight <= scheduler.limits.in_flight);
    let ids: Vec<WebhookId> = scheduler.endpoints.keys().copied().collect();
    for id in ids {
        let endpoint = &scheduler.endpoints[&id];
        let in_flight = stepped
            .in_flight
            .iter()
            .filter(|(other, ..)| *other == id)
            .count();
        prop_assert_eq!(endpoint.in_flight as usize, in_flight);
        if endpoint.queued() == 0 {
            prop_assert!(endpoint.waits_for.is_none(), "nothing waits for nothing");
            continue;
        }
        let oldest = endpoint.oldest().expect("something queued");
        prop_assert!(
            now.instant - oldest < scheduler.limits.longest_wait,
            "too long in the queue"
        );
        prop_assert!(
            HeldBack::find(endpoint, QueueKind::Parked, now).is_none()
                || endpoint.is_probing
                || endpoint.health.is_probe_due(now.wall_ms)
        );
        // Work is conserved: with room in the process, whoever waits could not start. A token is
        // awaited a microsecond longer than it takes to come.
        let waits_for_token = endpoint.waits_for == Some(Wait::Rate)
            && endpoint.token_at <= now.instant + Duration::from_micros(1);
        if scheduler.in_flight < scheduler.limits.in_flight && !waits_for_token {
            prop_assert!(scheduler.must_wait(id, now).is_some(), "{:?} could start", id);
        }
    }
    Ok(())
}

#[test]
fn a_backlog_is_taken_only_as_fast_as_it_is_sent() {
    let mut stepped = Stepped::new(LaneLimits::new(512));
    for number in 0..200 {
        stepped.set_up(number, settings(number, number));
    }
    let (per_turn, mut taken) = (96, 0_u32);
    for _ in 0..2_000 {
        // In each turn some requests end before it is seen how much may come.
        for _ in 0..per_turn.min(stepped.in_flight.len()) {
            let (ended, _, _) = stepped.in_flight.remove(0);
            stepped.scheduler.ended(ended, end(Ending::Success), stepped.now);
        }
        if stepped.scheduler.has_room(4_000) {
            for _ in 0..256 {
                let number = u16::try_from(taken % 200).expect("a small number");
                stepped
                    .scheduler
                    .arrive(id(number), QueueKind::First, taken, stepped.now);
                taken += 1;
            }
        }
        let room = per_turn - stepped.in_flight.len();
        for action in stepped.scheduler.run(stepped.now, room) {
            match action {
                LaneAction::Start { endpoint, job, .. } => stepped.in_flight.push((endpoint, job, false)),
                LaneAction::Park { reason, .. } => panic!("parked: {reason:?} after {taken}"),
                LaneAction::Refuse { .. } => panic!("refused"),
            }
        }
        assert_eq!(stepped.in_flight.len(), per_turn, "the flow is full");
    }
    assert!(taken > 190_000 && stepped.scheduler.queued() < 4_096 + 256);
}
